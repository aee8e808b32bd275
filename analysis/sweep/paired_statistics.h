#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

/// What is said of a figure over seeds (docs/algorithms.md 19).
namespace vmla::analysis {

/// A figure of one run. `never`: of steps to a target that the run did not reach; there is no value
/// then, and that is not the same as a run that has no figure.
struct SeedFigure {
  std::optional<double> value = {};
  bool never = false;
};

/// A figure of one cell over its seeds. With a seed that never reached the target there is no mean:
/// that of the others would be too small. The median counts such seeds as above all others.
struct SeedSpread {
  int64_t n = 0;      // seeds that have a value
  int64_t never = 0;  // seeds that did not reach the target
  std::optional<double> mean, sd, median;
};
SeedSpread spread_of(const std::vector<SeedFigure>& figures);

/// Differences of two cells over the seeds that both have (docs/algorithms.md 19.3), and the
/// interval in which their mean lies with 95 % confidence (Student's t with n - 1 degrees of
/// freedom; n >= 2). Pairs in which a value is missing or never came are left out, and counted.
struct PairedDifference {
  int64_t n = 0;
  int64_t left_out = 0;
  std::optional<double> mean, sd, low, high;

  /// Whether the interval lies on one side of zero.
  bool excludes_zero() const { return low && high && (*low > 0 || *high < 0); }
};
/// Of each pair the figure of the cell, then that of the baseline at the same seed.
PairedDifference paired_difference(const std::vector<std::pair<SeedFigure, SeedFigure>>& pairs);

/// P(|T| <= t) of Student's distribution with `freedom` >= 1 degrees of freedom, t >= 0.
double student_within(double t, int64_t freedom);
/// The t with student_within(t) = `share`, 0 < share < 1: 12.7062 for 95 % and one degree.
double student_bound(double share, int64_t freedom);

}  // namespace vmla::analysis
