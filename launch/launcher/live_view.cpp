#include "launch/launcher/live_view.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::launch {
namespace {

constexpr size_t kMostWaiting = size_t{4} << 20;  // bytes
// So long a line waits for the same line of other ranks.
constexpr std::chrono::milliseconds kWindow{100};

}  // namespace

void OutputQueue::push(const std::string& line) {
  if (closed_) return;
  if (text_.size() + line.size() > kMostWaiting) {
    ++dropped_;
    return;
  }
  if (dropped_ > 0) {
    text_ += formatted("vmla-launch: {} lines are not shown: nobody read them in time\n", dropped_);
    dropped_ = 0;
  }
  text_ += line + "\n";
}

bool OutputQueue::write_some() {
  // A pipe that is ready takes PIPE_BUF bytes without blocking; a terminal takes what it can.
  const ssize_t count = write(fd_, text_.data(), std::min<size_t>(text_.size(), PIPE_BUF));
  if (count >= 0) {
    text_.erase(0, static_cast<size_t>(count));
    return true;
  }
  if (errno == EINTR) return true;
  if (errno == EAGAIN) return false;
  closed_ = true;  // EPIPE: the reader has gone, which is no reason to stop the workers
  text_.clear();
  return false;
}

void OutputQueue::write_now() {
  while (!text_.empty()) {
    pollfd ready{fd_, POLLOUT, 0};
    if (poll(&ready, 1, 0) != 1 || !write_some()) return;
  }
}

LiveView::LiveView(size_t local_ranks)
    : coalescer_(local_ranks, kWindow), out_(STDOUT_FILENO), err_(STDERR_FILENO) {}

void LiveView::line(int64_t rank, bool to_stderr, std::string text, Clock::time_point now) {
  coalescer_.add(rank, to_stderr, std::move(text), now);
}

void LiveView::say(const std::string& text) {
  show(coalescer_.take_all());
  err_.push("vmla-launch: " + io::printable(text));
}

void LiveView::show(const std::vector<ShownLine>& lines) {
  for (const ShownLine& line : lines) {
    (line.to_stderr ? err_ : out_).push(formatted("[{}] {}", rank_ranges(line.ranks), line.text));
  }
}

void LiveView::wait_for(std::vector<pollfd>& descriptors) const {
  for (const OutputQueue* queue : {&out_, &err_}) {
    if (!queue->empty()) descriptors.push_back({queue->fd(), POLLOUT, 0});
  }
}

void LiveView::progress(Clock::time_point now) {
  show(coalescer_.take(now));
  out_.write_now();
  err_.write_now();
}

void LiveView::flush() {
  show(coalescer_.take_all());
  out_.write_now();
  err_.write_now();
}

}  // namespace vmla::launch
