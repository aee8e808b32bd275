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
  /// The collectives' own timeout. One that is awaited for longer, and the grace, hangs in a place
  /// that knows no timeout, such as a GPU.
  double timeout_seconds = 600;
  double grace_seconds = 10;
  double period_seconds = 1;
  /// Then called once, on a thread of the watchdog's, with explain()'s line; nothing can free the
  /// thread that hangs, so it is expected to end the process.
  std::function<void(const std::string& line)> on_hang = {};
};

/// Tells the other ranks every second, over a connection of its own, that this one lives and where
/// it is; and finds out which rank is missing when a collective failed.
class Watchdog {
 public:
  /// `store` outlives the watchdog.
  Watchdog(const Store& store,
           const RankEnvironment& environment,
           std::shared_ptr<const CollectiveLog> log,
           WatchdogOptions options);
  /// Tells the others that this rank has ended.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// The optimizer step that this rank is in.
  void set_step(int64_t step) { step_ = step; }

  /// Names, in one line, the ranks missing in this rank's first failed collective (without one, in
  /// the one longest awaited): "all_gather #132 of group world: rank 2 on host n07 has not
  /// answered for 31 s; its last collective was all_gather #131 of group world, finished". Takes a
  /// little more than two periods, and no time when the store is known to be silent. When `give_up`
  /// says so, meanwhile, the answer is empty.
  std::string explain(const std::function<bool()>& give_up = {}) const;
  /// Whether it did so at the last heartbeat.
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
  struct Shared;
  const std::unique_ptr<Shared> shared_;
};

}  // namespace vmla::distributed
