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

/// What is to be done on all nodes: start the workers, stop them, or end the launchers.
struct JobCommand {
  enum class Kind { kStart, kStop, kFinish };
  Kind kind = Kind::kStart;
  int64_t attempt = 0;   // kStart
  int status = 0;        // kFinish: the launchers' exit status
  std::string why = "";  // a line for the user on every node; may be empty
};

/// Decides when the workers of a job start, stop and start again, and with which status the job
/// ends. It runs on node 0 for all nodes, and knows no process and no socket: events go in,
/// commands come out, so that a test can play any course of events.
class JobControl {
 public:
  JobControl(int64_t nodes, int64_t max_restarts);

  /// Every node has joined: the workers can start.
  void begin(Clock::time_point now);
  /// A worker of any node failed (root_cause.h: has_failed).
  void worker_failed(const WorkerEnd& end, Clock::time_point now);
  /// All workers of a node have ended; `stopped`: at least one with status 75.
  void node_ended(int64_t node, bool stopped, Clock::time_point now);
  /// A node's launcher is gone; `why` says which and how that was noticed.
  void node_lost(int64_t node, const std::string& why);
  /// A launcher received `signal`, and all workers were sent it; `at_once`: they were killed.
  void stop_requested(int signal, bool at_once);
  /// To be called when due() has come: a pause is over, or the wait for a root cause.
  void tick(Clock::time_point now);

  /// The next command, if there is any; each is returned once.
  std::optional<JobCommand> next();
  /// When tick() has something to do.
  std::optional<Clock::time_point> due() const;

 private:
  enum class State {
    kWaiting,   // nodes are missing
    kRunning,   // the workers run
    kStopping,  // a worker failed or a node was lost: the other workers are being stopped
    kPausing,   // all workers have ended; they start again at the deadline
    kFinished,
  };
  void stop(const std::string& why);
  /// All workers have ended: starts them again after a pause, or finishes.
  void conclude(Clock::time_point now);
  void restart_after_pause(const std::string& why, Clock::time_point now);
  void finish(int status, const std::string& why);

  int64_t nodes_;
  int64_t max_restarts_;
  State state_ = State::kWaiting;
  int64_t attempt_ = -1;
  int64_t series_ = 0;  // failures in a row, without a healthy attempt between them
  // Of this attempt:
  Clock::time_point started_;
  std::vector<WorkerEnd> failed_;               // in the order in which they were reported
  std::optional<Clock::time_point> failed_at_;  // the first of them
  std::set<int64_t> ended_;                     // nodes without running workers
  bool cause_is_said_ = false;                  // a command's `why` names it
  bool has_saved_ = false;                      // a worker ended with status 75
  // Of the job:
  std::set<int64_t> lost_;  // nodes
  int signal_ = 0;          // that asked for the end; 0: none
  bool at_once_ = false;
  // kRunning: no longer wait for the failure that caused those so far; kPausing: start again.
  std::optional<Clock::time_point> deadline_;
  std::vector<JobCommand> commands_;  // not returned by next() yet
};

/// The pause after failure number `failure` (from 1) of a series: 1, 2, 4 ... at most 30 seconds. A
/// failure after kHealthy of work begins a new series.
std::chrono::seconds restart_pause(int64_t failure);
/// Twice the longest pause: whoever works for so long between two failures is not helped by
/// waiting.
inline constexpr std::chrono::seconds kHealthy{60};

}  // namespace vmla::launch
