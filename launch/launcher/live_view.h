#pragma once

#include <poll.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher/line_coalescer.h"

namespace vmla::launch {

/// Text on its way to a descriptor that may not take it now: a terminal that was stopped with
/// Ctrl-S, a full pipe. Writing never blocks, or the launcher could not watch its workers
/// meanwhile; what does not fit any more is dropped and counted.
class OutputQueue {
 public:
  explicit OutputQueue(int fd) : fd_(fd) {}
  void push(const std::string& line);
  /// Writes what the descriptor takes without blocking.
  void write_now();
  bool empty() const { return text_.empty(); }
  int fd() const { return fd_; }

 private:
  bool write_some();

  int fd_;
  std::string text_;
  size_t dropped_ = 0;
  bool closed_ = false;  // its reader is gone
};

/// What the terminal shows: the workers' lines, each behind the ranks that said it, on the stream
/// they were said on, and the launcher's own lines on stderr.
class LiveView {
 public:
  explicit LiveView(size_t local_ranks);

  void line(int64_t rank, bool to_stderr, std::string text, Clock::time_point now);
  /// A line of the launcher's own, behind everything the workers have said so far.
  void say(const std::string& text);

  /// Adds what poll() should wait for.
  void wait_for(std::vector<pollfd>& descriptors) const;
  std::optional<Clock::time_point> due() const { return coalescer_.due(); }
  void progress(Clock::time_point now);
  /// Nothing is held back any more: there will be no further line.
  void flush();
  /// Everything has been written.
  bool empty() const { return out_.empty() && err_.empty(); }

 private:
  void show(const std::vector<ShownLine>& lines);

  LineCoalescer coalescer_;
  OutputQueue out_, err_;
};

}  // namespace vmla::launch
