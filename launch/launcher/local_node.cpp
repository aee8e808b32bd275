#include "launch/launcher/local_node.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

std::filesystem::path make_scratch_folder() {
  const char* const wanted = std::getenv("TMPDIR");
  const std::string folder = wanted == nullptr || *wanted == '\0' ? "/tmp" : wanted;
  std::string name = folder + "/vmla-launch-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    fail_user("cannot create a folder in {} ({}); TMPDIR says where temporary files go",
              folder,
              std::strerror(errno));
  }
  return name;
}

}  // namespace

LocalNode::LocalNode(const LaunchOptions& options)
    : scratch_(make_scratch_folder()),
      guardian_(scratch_),  // which also removes the folder
      view_(static_cast<size_t>(options.workers)),
      workers_(options, scratch_, signals_, guardian_, view_) {}

void LocalNode::start(const StartOrder& order, int listen_fd) {
  workers_.start(order, listen_fd);
  started_ = true;
  any_stopped_ = false;
}

void LocalNode::say(const std::string& text) {
  if (!text.empty()) view_.say(text);
}

void LocalNode::flush() {
  view_.flush();
  while (!view_.empty()) {
    wait({}, Clock::time_point::max());
    if (!take_signals().empty()) return;
    view_.progress(Clock::now());
  }
}

void LocalNode::wait(std::vector<pollfd> others, Clock::time_point until) {
  others.push_back({signals_.fd(), POLLIN, 0});
  workers_.wait_for(others);
  view_.wait_for(others);
  for (const auto due : {view_.due(), workers_.due()}) {
    if (due) until = std::min(until, *due);
  }
  // Rounded up to milliseconds, so that poll() does not return just before `until`. It may return
  // after an hour for nothing: the caller's loop then waits again.
  const auto pause = std::clamp<Clock::duration>(
      until == Clock::time_point::max() ? std::chrono::hours(1) : until - Clock::now(),
      Clock::duration::zero(),
      std::chrono::hours(1));
  poll(others.data(),
       others.size(),
       static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(pause).count()));
}

std::vector<SignalSeen> LocalNode::take_signals() {
  std::vector<SignalSeen> out;
  for (const int number : signals_.take()) {
    out.push_back({number, number == SIGINT && interrupted_});
    interrupted_ = interrupted_ || number == SIGINT;
    forward(out.back());
  }
  return out;
}

void LocalNode::forward(const SignalSeen& signal) {
  if (signal.at_once) {
    workers_.kill();
  } else {
    workers_.forward(signal.number);
  }
}

LocalNode::Ends LocalNode::progress(Clock::time_point now) {
  Ends out;
  for (WorkerEnd& end : workers_.progress(now)) {
    any_stopped_ = any_stopped_ || (end.signal == 0 && end.exit_code == kStopped);
    if (has_failed(end)) out.failed.push_back(std::move(end));
  }
  if (started_ && !workers_.running()) {
    started_ = false;
    out.all = true;
    out.stopped = any_stopped_;
  }
  view_.progress(now);
  return out;
}

}  // namespace vmla::launch
