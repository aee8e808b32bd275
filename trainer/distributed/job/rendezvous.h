#pragma once

#include <memory>
#include <string>

#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

/// Joins the job: rank 0 serves the store on MASTER_PORT (on the listening socket it inherited, if
/// any), the others connect to it; with the launcher's own store all of them connect. Keys are of
/// this attempt alone. Every rank calls it, and then meet_ranks.
/// UserError, in one line: MASTER_ADDR does not resolve, the port is taken or belongs to another
/// job, nobody answers there after `timeout_seconds`, or this rank is there already.
std::unique_ptr<Store> join_job(const RankEnvironment& environment, double timeout_seconds);

/// Returns when every rank has joined. UserError on all of them when one has not within
/// `timeout_seconds`, or has another world size: it is named.
void meet_ranks(Store& store, const RankEnvironment& environment, double timeout_seconds);

/// Compares what must be the same on all ranks with rank 0's: the program's version, the text of
/// the configuration. `name` says what it is ("configuration"), once a job. Every rank calls it;
/// all of them get the same UserError, which names a rank that differs, and for a text of several
/// lines the first line. StoreError, or UserError naming the rank that did not come in time.
void agree(Store& store,
           const RankEnvironment& environment,
           const std::string& name,
           const std::string& value,
           double timeout_seconds);

/// Ends the job in order, when groups and watchdog are gone: rank 0, with whose process the store
/// ends, waits until every other rank has said that it needs it no more, or for `timeout_seconds`.
void leave_job(Store& store, const RankEnvironment& environment, double timeout_seconds);

}  // namespace vmla::distributed
