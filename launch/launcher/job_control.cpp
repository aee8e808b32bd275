#include "launch/launcher/job_control.h"

#include <algorithm>

#include "launch/launcher/signal_queue.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

// The end of a rank that lost its peer may be reported before that of the peer: the system closes a
// dying process's connections first, and reports its end afterwards.
constexpr std::chrono::milliseconds kWaitForRootCause{1000};

std::string root_cause_line(const WorkerEnd& end) {
  return "root cause: " + describe(end);
}

}  // namespace

std::chrono::seconds restart_pause(int64_t failure) {
  return std::chrono::seconds(failure > 5 ? 30 : int64_t{1} << (failure - 1));
}

JobControl::JobControl(int64_t nodes, int64_t max_restarts)
    : nodes_(nodes), max_restarts_(max_restarts) {}

void JobControl::begin(Clock::time_point now) {
  state_ = State::kPausing;
  deadline_ = now;
  tick(now);
}

void JobControl::worker_failed(const WorkerEnd& end, Clock::time_point now) {
  failed_.push_back(end);
  if (!failed_at_) failed_at_ = now;
  if (state_ != State::kRunning) return;
  if (signal_ != 0 && end.signal == signal_) return;  // as asked, and the others will follow
  if (!is_secondary_failure(end)) {
    stop(root_cause_line(end));
  } else if (!deadline_) {
    deadline_ = now + kWaitForRootCause;
  }
}

void JobControl::node_ended(int64_t node, bool stopped, Clock::time_point now) {
  ended_.insert(node);
  has_saved_ = has_saved_ || stopped;
  if (state_ != State::kRunning && state_ != State::kStopping) return;
  if (static_cast<int64_t>(ended_.size()) == nodes_) conclude(now);
}

void JobControl::node_lost(int64_t node, const std::string& why) {
  lost_.insert(node);
  ended_.insert(node);
  switch (state_) {
    case State::kRunning:
      stop(why);
      [[fallthrough]];
    case State::kStopping:
      if (static_cast<int64_t>(ended_.size()) == nodes_) finish(kFault, "");
      break;
    case State::kPausing:
      finish(kFault, why);
      break;
    case State::kWaiting:
    case State::kFinished:
      break;
  }
}

void JobControl::stop_requested(int signal, bool at_once) {
  if (signal_ == 0) signal_ = signal;
  at_once_ = at_once_ || at_once;
  // No worker is running that could save: starting the job again continues from its last
  // checkpoint.
  if (state_ == State::kWaiting || state_ == State::kPausing) {
    finish(kStopped, formatted("stopped by {} while no worker was running", signal_name(signal)));
  }
}

void JobControl::tick(Clock::time_point now) {
  if (!deadline_ || *deadline_ > now) return;
  deadline_.reset();
  if (state_ == State::kRunning) {
    stop(root_cause_line(*root_cause(failed_)));
  } else if (state_ == State::kPausing) {
    ++attempt_;
    started_ = now;
    state_ = State::kRunning;
    failed_.clear();
    failed_at_.reset();
    ended_.clear();
    cause_is_said_ = has_saved_ = false;
    commands_.push_back({.kind = JobCommand::Kind::kStart, .attempt = attempt_});
  }
}

void JobControl::stop(const std::string& why) {
  state_ = State::kStopping;
  deadline_.reset();
  cause_is_said_ = cause_is_said_ || !why.empty();
  commands_.push_back({.kind = JobCommand::Kind::kStop, .why = why});
}

void JobControl::conclude(Clock::time_point now) {
  deadline_.reset();
  const WorkerEnd* const cause = root_cause(failed_);
  const std::string why = cause == nullptr || cause_is_said_ ? "" : root_cause_line(*cause);
  if (at_once_) return finish(128 + signal_, "");  // as a shell counts
  if (!lost_.empty()) return finish(kFault, "");
  if (cause == nullptr) return finish(has_saved_ ? kStopped : kDone, "");
  const int status = status_of(*cause);
  if (signal_ != 0 && cause->signal == signal_) {
    return finish(status,
                  formatted("the workers ended with the {} they were sent", signal_name(signal_)));
  }
  const bool may_restart = signal_ == 0 && status != kWrongInput && attempt_ < max_restarts_;
  if (!may_restart) return finish(status, why);
  restart_after_pause(why, now);
}

void JobControl::restart_after_pause(const std::string& why, Clock::time_point now) {
  const int64_t restart = attempt_ + 1;
  const bool was_healthy = failed_at_.value_or(now) - started_ >= kHealthy;
  series_ = was_healthy ? 1 : series_ + 1;
  const std::chrono::seconds pause = restart_pause(series_);
  state_ = State::kPausing;
  deadline_ = now + pause;
  // No worker is running: this command only says the line on every node.
  commands_.push_back({.kind = JobCommand::Kind::kStop,
                       .why = formatted("{}{}starting all ranks again in {} s (restart {} of {})",
                                        why,
                                        why.empty() ? "" : "; ",
                                        pause.count(),
                                        restart,
                                        max_restarts_)});
}

void JobControl::finish(int status, const std::string& why) {
  state_ = State::kFinished;
  deadline_.reset();
  commands_.push_back({.kind = JobCommand::Kind::kFinish, .status = status, .why = why});
}

std::optional<JobCommand> JobControl::next() {
  if (commands_.empty()) return std::nullopt;
  JobCommand command = commands_.front();
  commands_.erase(commands_.begin());
  return command;
}

std::optional<Clock::time_point> JobControl::due() const {
  return deadline_;
}

}  // namespace vmla::launch
