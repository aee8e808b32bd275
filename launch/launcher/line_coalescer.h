#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace vmla::launch {

using Clock = std::chrono::steady_clock;

/// A line as it is shown: once for all ranks that wrote it.
struct ShownLine {
  std::vector<int64_t> ranks;  // ascending
  bool to_stderr = false;
  std::string text;
};

/// "0-3,5" of 0, 1, 2, 3, 5.
std::string rank_ranges(const std::vector<int64_t>& ranks);

/// Joins equal lines that several ranks write within a short time. The lines of one rank keep their
/// order: a line joins an earlier equal one only if its rank has written nothing since that one.
class LineCoalescer {
 public:
  /// A line waits for `window` at most, and no longer than until all of `ranks` ranks have written
  /// it; with one rank nothing waits.
  LineCoalescer(size_t ranks, std::chrono::milliseconds window);

  void add(int64_t rank, bool to_stderr, std::string text, Clock::time_point now);
  /// Lines that need not wait any longer, oldest first.
  std::vector<ShownLine> take(Clock::time_point now);
  /// All lines.
  std::vector<ShownLine> take_all();
  /// When take() will have something without another add(); none when nothing is held back.
  std::optional<Clock::time_point> due() const;

 private:
  struct Held {
    ShownLine line;
    Clock::time_point until;
  };
  size_t ranks_;
  std::chrono::milliseconds window_;
  std::deque<Held> held_;
};

}  // namespace vmla::launch
