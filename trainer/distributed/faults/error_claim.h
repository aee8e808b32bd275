#pragma once

#include <exception>
#include <string>

#include "model/io/exit_status.h"
#include "trainer/distributed/faults/watchdog.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

struct ErrorLine {
  bool say;               // this rank is the one that prints it, on stderr
  std::string text;       // what is printed, here or by another rank
  std::string host = {};  // of the rank that prints it; empty where that is not known
};

/// Arranges that a job's error is printed once, by a rank that knows the cause. (Machines without
/// that rank have terminals of their own: there the caller prints the text once more.)
///
/// - An error of this rank's own is printed by the first rank that has one.
/// - A PeerError makes this rank a victim: it waits for about two seconds for another rank to claim
///   the root cause. If none does, the first victim prints which rank is missing; after a CommError
///   `watchdog` (may be null) finds that out.
/// - Where the store is gone nothing can be arranged: rank 1 prints for the victims (rank 0
///   where the launcher serves the store).
///
/// An error of this rank's own may be claimed as soon as there is one: to leave the groups can take
/// a while on a broken GPU. A PeerError is to be claimed when this rank's groups are destroyed, so
/// that others notice too, and both before the store is.
ErrorLine claim_error(const Store& store,
                      const RankEnvironment& environment,
                      const Watchdog* watchdog,
                      const std::exception& error);

/// Between the end of this rank's groups and that of the store: a rank 0 that serves the store
/// waits here until the others have read the claimed error, at most 2.5 s.
void await_readers(const Store& store, const RankEnvironment& environment);

}  // namespace vmla::distributed
