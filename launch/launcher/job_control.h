#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launch/launcher/line_coalescer.h"
#include "launch/launcher/root_cause.h"

namespace vmla::launch {

/// What is to be done on all nodes.
struct JobCommand {
  enum class Kind { kStart, kStop, kFinish };
  Kind kind = Kind::kStart;
  int64_t attempt = 0;  // kStart
  int status = 0;       // kFinish: the launchers' exit status
  std::string why;      // to be said once on every node; may be empty
};

/// Decides over the life of a job: when workers start, stop and start again, and how it ends. One
/// node decides for all, so it is the same with one node and with many. Knows no process and no
/// socket: events go in, commands come out.
class JobControl {
 public:
  JobControl(int64_t nodes, int64_t max_restarts);

  /// Every node is there: the workers can start.
  void begin(Clock::time_point now);
  /// A worker of any node failed (root_cause.h: has_failed).
  void worker_failed(const WorkerEnd& end, Clock::time_point now);
  /// All workers of a node have ended; `stopped`: at least one with status 75.
  void node_ended(int64_t node, bool stopped, Clock::time_point now);
  /// A node's launcher is gone; `why` says which and how that was noticed.
  void node_lost(int64_t node, const std::string& why);
  /// Somebody asked the launcher to stop; `at_once`: without waiting.
  void stop_requested(int signal, bool at_once);
  /// Time passes.
  void tick(Clock::time_point now);

  /// The next thing to do, if any; each is given once.
  std::optional<JobCommand> next();
  /// When tick() has something to do.
  std::optional<Clock::time_point> due() const;

 private:
  enum class State { kWaiting, kRunning, kStopping, kPausing, kFinished };
  void stop(const std::string& why);
  void conclude(Clock::time_point now);
  void finish(int status, const std::string& why);

  int64_t nodes_;
  int64_t max_restarts_;
  State state_ = State::kWaiting;
  int64_t attempt_ = -1;
  std::vector<WorkerEnd> failed_;  // of this attempt, in the order they were heard of
  std::set<int64_t> ended_;        // nodes
  std::set<int64_t> lost_;
  std::string lost_why_;
  bool said_ = false;     // the root cause of this attempt
  bool stopped_ = false;  // a worker ended with 75
  int signal_ = 0;        // that asked for the end
  bool at_once_ = false;
  std::optional<Clock::time_point> deadline_;  // kRunning: wait no longer for a root cause;
                                               // kPausing: start again
  std::vector<JobCommand> commands_;
};

/// The pause before restart number `restart` (from 1): 1, 2, 4 ... at most 30 seconds.
std::chrono::seconds restart_pause(int64_t restart);

}  // namespace vmla::launch
