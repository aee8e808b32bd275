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

/// The workers of this node: starts all, passes on what they say, tells how each ended, stops all.
class WorkerGroup {
 public:
  /// UserError when the program cannot be found. `scratch` is where error files go without
  /// --log-dir.
  WorkerGroup(const LaunchOptions& options,
              const std::filesystem::path& scratch,
              const SignalQueue& signals,
              Guardian& guardian,
              LiveView& view);

  /// Starts all workers. `listen_fd` (or -1) goes to rank 0, which must be here.
  void start(const StartOrder& order, int listen_fd);
  bool running() const;
  /// Passes a signal on, each number once a start.
  void forward(int signal);
  /// SIGTERM now, SIGKILL after the grace period.
  void stop(Clock::time_point now);
  void kill();

  void wait_for(std::vector<pollfd>& descriptors) const;
  /// When progress() has something to do without a descriptor being ready.
  std::optional<Clock::time_point> due() const { return kill_at_; }
  /// Passes on lines; returns the workers that have ended since the last call.
  std::vector<WorkerEnd> progress(Clock::time_point now);

 private:
  std::filesystem::path attempt_folder(const StartOrder& order) const;

  const LaunchOptions& options_;
  std::filesystem::path scratch_;
  const SignalQueue& signals_;
  Guardian& guardian_;
  LiveView& view_;
  std::vector<std::vector<int>> cpus_;  // of each worker
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
  int64_t first_rank_ = 0;
  std::set<int> forwarded_;
  std::optional<Clock::time_point> kill_at_;
};

}  // namespace vmla::launch
