#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace vmla::launch {

using Clock = std::chrono::steady_clock;

/// A line as it is shown: once for all ranks that said it.
struct ShownLine {
  std::vector<int64_t> ranks;  // rising
  bool to_stderr = false;
  std::string text;
};

/// "0-3,5" of 0, 1, 2, 3, 5.
std::string rank_ranges(const std::vector<int64_t>& ranks);

/// Puts together what several ranks say alike within a short time. Lines of one rank are never
/// reordered: a line joins an earlier equal one only if its rank has said nothing since that one.
class LineCoalescer {
 public:
  /// With one rank nothing is held back.
  LineCoalescer(size_t ranks, std::chrono::milliseconds window);

  void add(int64_t rank, bool to_stderr, std::string text, Clock::time_point now);
  /// What every rank has said by now, or what has waited for the window's time, oldest first.
  std::vector<ShownLine> take(Clock::time_point now);
  /// Everything, at the end.
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
