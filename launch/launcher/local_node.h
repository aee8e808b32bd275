#pragma once

#include <poll.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "launch/launcher/control_message.h"
#include "launch/launcher/guardian.h"
#include "launch/launcher/launch_options.h"
#include "launch/launcher/live_view.h"
#include "launch/launcher/signal_queue.h"
#include "launch/launcher/worker_group.h"

namespace vmla::launch {

/// What a launcher does on its own machine, whether it decides for the job (Coordinator) or not
/// (MemberNode): it runs the workers, receives signals, and shows the workers' lines and its own.
class LocalNode {
 public:
  explicit LocalNode(const LaunchOptions& options);

  /// Starts all workers (worker_group.h).
  void start(const StartOrder& order, int listen_fd);
  /// SIGTERM to all workers, and SIGKILL after the grace period.
  void stop(Clock::time_point now) { workers_.stop(now); }
  bool running() const { return workers_.running(); }
  /// Shows a line of the launcher's own; nothing if it is empty.
  void say(const std::string& text);
  /// To be called at the end: waits until everything shown is written. A signal ends the wait, for
  /// whoever should read the output may have stopped doing so.
  void flush();

  /// Sleeps until a signal comes, a worker writes or ends, one of `others` is ready, or it is
  /// `until`.
  void wait(std::vector<pollfd> others, Clock::time_point until);
  /// The signals that have come since the last call. The workers here have been sent them; the
  /// launchers of the other nodes are still to be told.
  std::vector<SignalSeen> take_signals();
  /// Passes a signal that another node's launcher received on to the workers here.
  void forward(const SignalSeen& signal);

  /// What happened to the workers since the last call.
  struct Ends {
    std::vector<WorkerEnd> failed;
    bool all = false;      // the last running worker has ended
    bool stopped = false;  // with `all`: at least one worker ended with status 75
  };
  /// Shows what the workers have written, and returns how they ended. Does not block.
  Ends progress(Clock::time_point now);

 private:
  std::filesystem::path scratch_;
  Guardian guardian_;
  SignalQueue signals_;
  LiveView view_;
  WorkerGroup workers_;
  bool started_ = false;      // until the end of all workers has been reported
  bool any_stopped_ = false;  // a worker of this attempt ended with status 75
  bool interrupted_ = false;  // one SIGINT has come; the next one kills
};

}  // namespace vmla::launch
