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

/// What a launcher does on its own machine, whoever decides: workers, signals, what is shown.
class LocalNode {
 public:
  explicit LocalNode(const LaunchOptions& options);

  void start(const StartOrder& order, int listen_fd);
  void stop(Clock::time_point now) { workers_.stop(now); }
  bool running() const { return workers_.running(); }
  /// A line of the launcher's own; nothing if it is empty.
  void say(const std::string& text);
  /// Waits until everything that was said is written, or for a signal when nobody reads it.
  void finish();

  /// Sleeps until a signal comes, a worker writes or ends, one of `others` is ready, or it is
  /// `until`.
  void wait(std::vector<pollfd> others, Clock::time_point until);
  /// The signals that have come. They have been passed on to the workers here; the other nodes are
  /// to be told.
  std::vector<SignalSeen> take_signals();
  /// Passes a signal of another node's on to the workers here.
  void forward(const SignalSeen& signal);

  struct Ends {
    std::vector<WorkerEnd> failed;  // since the last call
    bool all = false;               // this call saw the last worker end
    bool stopped = false;           // one of all ended with status 75
  };
  Ends progress(Clock::time_point now);

 private:
  std::filesystem::path scratch_;
  Guardian guardian_;
  SignalQueue signals_;
  LiveView view_;
  WorkerGroup workers_;
  bool started_ = false;  // and the end of all has not been reported
  bool any_stopped_ = false;
  bool interrupted_ = false;  // by one SIGINT
};

}  // namespace vmla::launch
