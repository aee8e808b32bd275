#pragma once

#include <memory>
#include <string>

#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

/// Joins the job: rank 0 serves the store on MASTER_PORT (on the listening socket it inherited, if
/// any), the others connect to it; where the launcher serves the store, all of them connect. Its
/// keys are apart for each attempt, that is, each time the launcher starts all ranks again. Every
/// rank calls it, and then meet_ranks.
/// UserError, in one line: MASTER_ADDR does not resolve, the port is taken or belongs to another
/// job, nobody answers there within `timeout_seconds`, or this rank is there already.
std::unique_ptr<Store> join_job(const RankEnvironment& environment, double timeout_seconds);

/// Returns when every rank has joined. UserError on all of them, naming the rank, when one has not
/// within `timeout_seconds` or has another world size.
void meet_ranks(Store& store, const RankEnvironment& environment, double timeout_seconds);

/// Something that must be the same on all ranks.
struct AgreedValue {
  std::string name;  // for messages ("configuration"); another one each time
  std::string value;
};

/// Compares each rank's value with rank 0's. Every rank calls it; all of them get the same
/// UserError, which names a rank that differs, and for a text of several lines the first line that
/// does. StoreError, or UserError naming the rank that did not come within `timeout_seconds`.
void agree(Store& store,
           const RankEnvironment& environment,
           const AgreedValue& agreed,
           double timeout_seconds);

/// Ends the job in order, once groups and watchdog are gone. The store ends with rank 0's process:
/// so rank 0 waits until every other rank has said that it is through, or for `timeout_seconds`.
void leave_job(Store& store, const RankEnvironment& environment, double timeout_seconds);

}  // namespace vmla::distributed
