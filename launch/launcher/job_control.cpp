#include "launch/launcher/job_control.h"

#include <algorithm>

#include "launch/launcher/signal_queue.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

// A rank that lost its peer may be heard of before the peer itself: the system first closes a dying
// process's connections, and then tells of its end.
constexpr std::chrono::milliseconds kWaitForRootCause{1000};

std::string say_root_cause(const WorkerEnd& end) {
  return "root cause: " + describe(end);
}

}  // namespace

std::chrono::seconds restart_pause(int64_t restart) {
  return std::chrono::seconds(restart > 5 ? 30 : int64_t{1} << (restart - 1));
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
  if (state_ != State::kRunning) return;
  if (signal_ != 0 && end.signal == signal_) return;  // as asked; so will the others
  if (!is_victim(end)) {
    stop(say_root_cause(end));
  } else if (!deadline_) {
    deadline_ = now + kWaitForRootCause;
  }
}

void JobControl::node_ended(int64_t node, bool stopped, Clock::time_point now) {
  ended_.insert(node);
  stopped_ = stopped_ || stopped;
  if (state_ != State::kRunning && state_ != State::kStopping) return;
  if (static_cast<int64_t>(ended_.size()) == nodes_) conclude(now);
}

void JobControl::node_lost(int64_t node, const std::string& why) {
  lost_.insert(node);
  ended_.insert(node);
  if (lost_why_.empty()) lost_why_ = why;
  switch (state_) {
    case State::kRunning:
      stop(why);
      [[fallthrough]];
    case State::kStopping:
      if (static_cast<int64_t>(ended_.size()) == nodes_) finish(1, "");
      break;
    case State::kPausing:
      finish(1, why);
      break;
    case State::kWaiting:
    case State::kFinished:
      break;
  }
}

void JobControl::stop_requested(int signal, bool at_once) {
  if (signal_ == 0) signal_ = signal;
  at_once_ = at_once_ || at_once;
  // Nothing runs: the next start continues as well as a restart would.
  if (state_ == State::kWaiting || state_ == State::kPausing) {
    finish(kStopped, formatted("stopped by {} while no worker was running", signal_name(signal)));
  }
}

void JobControl::tick(Clock::time_point now) {
  if (!deadline_ || *deadline_ > now) return;
  deadline_.reset();
  if (state_ == State::kRunning) {
    stop(say_root_cause(*root_cause(failed_)));
  } else if (state_ == State::kPausing) {
    ++attempt_;
    state_ = State::kRunning;
    failed_.clear();
    ended_.clear();
    said_ = stopped_ = false;
    commands_.push_back({JobCommand::Kind::kStart, attempt_, 0, ""});
  }
}

void JobControl::stop(const std::string& why) {
  state_ = State::kStopping;
  deadline_.reset();
  said_ = said_ || !why.empty();
  commands_.push_back({JobCommand::Kind::kStop, attempt_, 0, why});
}

void JobControl::conclude(Clock::time_point now) {
  deadline_.reset();
  const WorkerEnd* const cause = root_cause(failed_);
  const std::string why = cause == nullptr || said_ ? "" : say_root_cause(*cause);
  if (at_once_) return finish(128 + signal_, "");
  if (!lost_.empty()) return finish(1, "");
  if (cause == nullptr) return finish(stopped_ ? kStopped : 0, "");
  const int status = status_of(*cause);
  if (signal_ != 0 && cause->signal == signal_) {
    return finish(status,
                  formatted("the workers ended with the {} they were sent", signal_name(signal_)));
  }
  if (signal_ != 0 || status == kWrongInput || attempt_ >= max_restarts_) {
    return finish(status, why);
  }
  const int64_t restart = attempt_ + 1;
  const std::chrono::seconds pause = restart_pause(restart);
  state_ = State::kPausing;
  deadline_ = now + pause;
  commands_.push_back({JobCommand::Kind::kStop,
                       attempt_,
                       0,
                       formatted("{}{}starting all ranks again in {} s (restart {} of {})",
                                 why,
                                 why.empty() ? "" : "; ",
                                 pause.count(),
                                 restart,
                                 max_restarts_)});
}

void JobControl::finish(int status, const std::string& why) {
  state_ = State::kFinished;
  deadline_.reset();
  commands_.push_back({JobCommand::Kind::kFinish, attempt_, status, why});
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
