#pragma once

#include <cstdint>
#include <deque>

namespace vmla::analysis {

/// A window's first and second half, to tell a trend from noise.
struct HalfMeans {
  double first = 0, second = 0;
  double standard_error = 0;  // of the difference of the two means

  /// Whether the second half is more than `ratio` times the first (a loss is positive), and more
  /// than `errors` standard errors above it.
  bool rises(double ratio, double errors) const;
  /// Likewise with the halves exchanged.
  bool falls(double ratio, double errors) const;
};

/// A figure of a training run as it comes in, observation by observation: its last values, its
/// running median and mean, and their extremes so far.
class FigureTrack {
 public:
  /// `window`: how many of the last observations the median and the halves look at, and the span of
  /// the mean. `warmup`: how many observations come before anything is judged by them.
  FigureTrack(int64_t window, int64_t warmup) : window_(window), warmup_(warmup) {}

  void add(double value);

  /// More observations than the warm-up.
  bool judged() const { return count_ > warmup_; }
  /// As many observations as the window has.
  bool full() const { return static_cast<int64_t>(recent_.size()) >= window_; }
  /// The last values, at most `window`.
  const std::deque<double>& recent() const { return recent_; }
  /// Of the last values.
  double median() const;
  HalfMeans halves() const;
  /// The mean with weights that fall by 1/e in `window` observations, unbiased from the first one.
  double smoothed() const { return sum_ / weight_; }
  /// The lowest |smoothed()|, and the highest median(), since the warm-up; 0 during it.
  double lowest_smoothed() const { return lowest_smoothed_; }
  double highest_median() const { return highest_median_; }

 private:
  int64_t window_, warmup_;
  std::deque<double> recent_;
  int64_t count_ = 0;
  double sum_ = 0, weight_ = 0;
  double lowest_smoothed_ = 0, highest_median_ = 0;
};

}  // namespace vmla::analysis
