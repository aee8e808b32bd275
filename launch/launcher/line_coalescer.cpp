#include "launch/launcher/line_coalescer.h"

#include <algorithm>
#include <utility>

namespace vmla::launch {
namespace {

// Lines that may wait at once, which bounds the search for an equal one. Beyond that the oldest do
// not wait any longer.
constexpr size_t kMostHeld = 1000;

}  // namespace

std::string rank_ranges(const std::vector<int64_t>& ranks) {
  std::string out;
  for (size_t begin = 0; begin < ranks.size();) {
    size_t end = begin;
    while (end + 1 < ranks.size() && ranks[end + 1] == ranks[end] + 1) ++end;
    if (!out.empty()) out += ",";
    out += std::to_string(ranks[begin]);
    if (end > begin) out += "-" + std::to_string(ranks[end]);
    begin = end + 1;
  }
  return out;
}

LineCoalescer::LineCoalescer(size_t ranks, std::chrono::milliseconds window)
    : ranks_(ranks), window_(window) {}

void LineCoalescer::add(int64_t rank, bool to_stderr, std::string text, Clock::time_point now) {
  for (auto held = held_.rbegin(); held != held_.rend(); ++held) {
    std::vector<int64_t>& said_by = held->line.ranks;
    const auto place = std::lower_bound(said_by.begin(), said_by.end(), rank);
    if (place != said_by.end() && *place == rank) break;
    if (held->line.to_stderr == to_stderr && held->line.text == text) {
      said_by.insert(place, rank);
      return;
    }
  }
  held_.push_back({{{rank}, to_stderr, std::move(text)}, now + window_});
}

std::vector<ShownLine> LineCoalescer::take(Clock::time_point now) {
  std::vector<ShownLine> out;
  while (!held_.empty() && (held_.front().line.ranks.size() >= ranks_ ||
                            held_.front().until <= now || held_.size() > kMostHeld)) {
    out.push_back(std::move(held_.front().line));
    held_.pop_front();
  }
  return out;
}

std::vector<ShownLine> LineCoalescer::take_all() {
  return take(Clock::time_point::max());
}

std::optional<Clock::time_point> LineCoalescer::due() const {
  if (held_.empty()) return std::nullopt;
  return held_.front().until;
}

}  // namespace vmla::launch
