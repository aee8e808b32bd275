#pragma once

#include <poll.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher/line_coalescer.h"

namespace vmla::launch {

/// Lines that wait until a descriptor takes them: a terminal may be stopped with Ctrl-S, a pipe may
/// be full. Writing never blocks, because the launcher could not watch its workers meanwhile. What
/// does not fit the queue is dropped, and the number of dropped lines is shown later.
class OutputQueue {
 public:
  explicit OutputQueue(int fd) : fd_(fd) {}
  /// Queues a line without its line feed.
  void push(const std::string& line);
  /// Writes what the descriptor takes without blocking.
  void write_now();
  bool empty() const { return text_.empty(); }
  int fd() const { return fd_; }

 private:
  /// One write(); false when the descriptor takes nothing now, or never again.
  bool write_some();

  int fd_;
  std::string text_;
  size_t dropped_ = 0;   // lines
  bool closed_ = false;  // its reader is gone
};

/// What the user sees: the workers' lines, each behind the numbers of the ranks that wrote it and
/// on the stream it was written to, and the launcher's own lines on stderr.
class LiveView {
 public:
  explicit LiveView(size_t local_ranks);

  /// A line that a worker wrote.
  void line(int64_t rank, bool to_stderr, std::string text, Clock::time_point now);
  /// A line of the launcher's own, behind everything the workers have written so far.
  void say(const std::string& text);

  /// Adds what poll() should wait for.
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// When progress() has something to do without a descriptor being ready.
  std::optional<Clock::time_point> due() const { return coalescer_.due(); }
  /// Writes what is due, as far as it goes without blocking.
  void progress(Clock::time_point now);
  /// The same for all lines: none will follow that an equal one could join.
  void flush();
  /// True when everything has been written.
  bool empty() const { return out_.empty() && err_.empty(); }

 private:
  void show(const std::vector<ShownLine>& lines);

  LineCoalescer coalescer_;
  OutputQueue out_, err_;
};

}  // namespace vmla::launch
