#include "analysis/runs/figure_track.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "analysis/runs/median.h"

namespace vmla::analysis {

bool HalfMeans::rises(double ratio, double errors) const {
  return second > ratio * first && second - first > errors * standard_error;
}

bool HalfMeans::falls(double ratio, double errors) const {
  return first > ratio * second && first - second > errors * standard_error;
}

void FigureTrack::add(double value) {
  recent_.push_back(value);
  if (static_cast<int64_t>(recent_.size()) > window_) recent_.pop_front();
  ++count_;
  const double keep = std::exp(-1.0 / static_cast<double>(window_));
  sum_ = keep * sum_ + (1 - keep) * value;
  weight_ = keep * weight_ + (1 - keep);
  if (!judged()) return;
  const double level = std::abs(smoothed());
  lowest_smoothed_ = lowest_smoothed_ > 0 ? std::min(lowest_smoothed_, level) : level;
  highest_median_ = std::max(highest_median_, median());
}

double FigureTrack::median() const {
  return analysis::median({recent_.begin(), recent_.end()});
}

HalfMeans FigureTrack::halves() const {
  // The mean of a part of the values, and the variance of that mean.
  const auto mean_and_variance = [&](size_t begin, size_t end) {
    const auto count = static_cast<double>(end - begin);
    double mean = 0, squares = 0;
    for (size_t i = begin; i < end; ++i) mean += recent_[i] / count;
    for (size_t i = begin; i < end; ++i) squares += (recent_[i] - mean) * (recent_[i] - mean);
    return std::pair{mean, squares / std::max(count - 1, 1.0) / count};
  };
  const size_t half = recent_.size() / 2;
  const auto [first, first_variance] = mean_and_variance(0, half);
  const auto [second, second_variance] = mean_and_variance(half, recent_.size());
  return {.first = first,
          .second = second,
          .standard_error = std::sqrt(first_variance + second_variance)};
}

}  // namespace vmla::analysis
