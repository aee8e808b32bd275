#pragma once

#include <poll.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "launch/launcher/launch_options.h"
#include "launch/launcher/live_view.h"
#include "launch/launcher/worker_environment.h"
#include "launch/launcher/worker_process.h"

namespace vmla::launch {

/// The workers of this node. Starts and stops all of them together, passes on the lines they write,
/// and reports how each ended. Nothing here blocks.
class WorkerGroup {
 public:
  /// UserError when the program cannot be found. `scratch` is where error files go without
  /// --log-dir.
  WorkerGroup(const LaunchOptions& options,
              const std::filesystem::path& scratch,
              const SignalQueue& signals,
              Guardian& guardian,
              LiveView& view);

  /// Starts all workers. `listen_fd` is the bound socket that rank 0 inherits; -1 on nodes that
  /// rank 0 is not on.
  void start(const StartOrder& order, int listen_fd);
  bool running() const;
  /// Passes a signal on to all workers, each signal at most once for each start of the workers.
  void forward(int signal);
  /// SIGTERM to all workers now, SIGKILL after the grace period.
  void stop(Clock::time_point now);
  /// SIGKILL to all workers now.
  void kill();

  /// Adds what poll() should wait for.
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// When progress() has something to do without a descriptor being ready.
  std::optional<Clock::time_point> due() const { return kill_at_; }
  /// Passes on what the workers have written, and returns how those ended that have ended since the
  /// last call.
  std::vector<WorkerEnd> progress(Clock::time_point now);

 private:
  std::filesystem::path attempt_folder(const StartOrder& order) const;
  WorkerOrder worker_order(const StartOrder& order, int64_t local_rank, int listen_fd) const;

  const LaunchOptions& options_;
  std::filesystem::path scratch_;
  const SignalQueue& signals_;
  Guardian& guardian_;
  LiveView& view_;
  std::vector<std::vector<int>> cpus_;                   // [local rank]; empty: not bound
  std::vector<std::unique_ptr<WorkerProcess>> workers_;  // [local rank]
  int64_t first_rank_ = 0;
  std::set<int> forwarded_;  // signals of this attempt
  std::optional<Clock::time_point> kill_at_;
};

}  // namespace vmla::launch
