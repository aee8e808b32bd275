#pragma once

#include <exception>
#include <string>

#include "model/io/exit_status.h"
#include "trainer/distributed/faults/watchdog.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

struct ErrorLine {
  bool say;          // this rank is the one that says it, on stderr
  std::string text;  // what is said, here or by another rank: for this rank's log
};

/// Arranges that a job's error is said once, by the rank that knows. An error of this rank's own is
/// said by the first that has one. A PeerError waits for about two seconds whether another rank has
/// said the root cause; else the first victim says which rank is missing (after a CommError
/// `watchdog`, which may be null, names it). When the store is gone, rank 1 speaks for the victims,
/// rank 0 where the launcher serves the store. To be called when the groups are destroyed, so that
/// the others notice, and before the store is: a rank 0 that serves it waits here until the others
/// have read the root cause, at most 2.5 s.
ErrorLine claim_error(const Store& store,
                      const RankEnvironment& environment,
                      const Watchdog* watchdog,
                      const std::exception& error);

}  // namespace vmla::distributed
