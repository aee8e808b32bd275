#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "trainer/distributed/collectives/collective_log.h"
#include "trainer/distributed/faults/heartbeat.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

struct WatchdogOptions {
  /// The collectives' own timeout. One that takes longer than this and the grace hangs: the
  /// engine's own timeout did not fire, as happens on a GPU. So does a rank that has no error of
  /// its own within the grace after a collective failed on its device.
  double timeout_seconds = 600;
  double grace_seconds = 10;
  /// Between two heartbeats.
  double period_seconds = 1;
  /// Called once when a collective hangs, on a thread of the watchdog's, with explain()'s line.
  /// Nothing can free the thread that hangs, so it is expected to end the process.
  std::function<void(const std::string& line)> on_hang = {};
};

/// Tells the other ranks every second, from a thread of its own and over a connection of its own to
/// the store, that this rank lives and where it is; and finds out which rank is missing when a
/// collective has failed or hangs.
class Watchdog {
 public:
  /// `store` outlives the watchdog. The heartbeats begin.
  Watchdog(const Store& store,
           const RankEnvironment& environment,
           std::shared_ptr<const CollectiveLog> log,
           WatchdogOptions options);
  /// Ends the heartbeats; the last one says that this rank has ended.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// This rank leaves with an error of its own, which it will report: what fails on its device from
  /// now on is no news. Any thread.
  void stand_down() { stands_down_ = true; }
  /// The optimizer step that this rank is in. Any thread.
  void set_step(int64_t step) { step_ = step; }

  /// One line that names the ranks missing in this rank's first failed collective, or, if none has
  /// failed, in the one that has been awaited for longest: "all_gather #132 of group world: rank 2
  /// on host n07 has not answered for 31 s; its last collective was all_gather #131 of group world,
  /// finished". Compares heartbeats over a little more than two periods; at once where the store is
  /// known to be silent, which is then what is said. Empty when `give_up`, asked meanwhile, says
  /// so. Any thread.
  std::string explain(const std::function<bool()>& give_up = {}) const;
  /// Whether the store answered at the last heartbeat. Any thread.
  bool store_answers() const;

 private:
  void run();
  void beat();
  Heartbeat own_beat() const;
  void look_for_hang();
  std::string blame_store(const std::string& what, const StoreError& error) const;

  const Store& store_;
  const RankEnvironment environment_;
  const std::shared_ptr<const CollectiveLog> log_;
  const WatchdogOptions options_;
  std::atomic<int64_t> step_ = 0;
  std::atomic<bool> stands_down_ = false;
  struct Shared;
  const std::unique_ptr<Shared> shared_;
};

}  // namespace vmla::distributed
