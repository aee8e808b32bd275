#include "analysis/sweep/paired_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace vmla::analysis {
namespace {

constexpr double kConfidence = 0.95;

struct Moments {
  double mean = 0;
  std::optional<double> sd;  // with n - 1; of two values or more
};

Moments moments_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Moments out{.mean = std::accumulate(values.begin(), values.end(), 0.0) / n, .sd = {}};
  if (values.size() < 2) return out;
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  out.sd = std::sqrt(squares / (n - 1));
  return out;
}

/// The middle of the sorted values, or the mean of the two middle ones. Nothing where that is
/// infinite.
std::optional<double> median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return std::isfinite(median) ? std::optional(median) : std::nullopt;
}

}  // namespace

SeedSpread spread_of(const std::vector<SeedFigure>& figures) {
  SeedSpread out;
  std::vector<double> values, with_never;
  for (const SeedFigure& figure : figures) {
    if (figure.value) values.push_back(*figure.value);
    if (figure.never) ++out.never;
  }
  out.n = static_cast<int64_t>(values.size());
  with_never = values;
  with_never.insert(with_never.end(), out.never, std::numeric_limits<double>::infinity());
  if (with_never.empty()) return out;
  out.median = median_of(with_never);
  if (out.never > 0) return out;
  const Moments moments = moments_of(values);
  out.mean = moments.mean;
  out.sd = moments.sd;
  return out;
}

PairedDifference paired_difference(const std::vector<std::pair<SeedFigure, SeedFigure>>& pairs) {
  PairedDifference out;
  std::vector<double> differences;
  for (const auto& [cell, baseline] : pairs) {
    if (cell.value && baseline.value) {
      differences.push_back(*cell.value - *baseline.value);
    } else {
      ++out.left_out;
    }
  }
  out.n = static_cast<int64_t>(differences.size());
  if (differences.empty()) return out;
  const Moments moments = moments_of(differences);
  out.mean = moments.mean;
  out.sd = moments.sd;
  if (!moments.sd) return out;
  const double half =
      student_bound(kConfidence, out.n - 1) * *moments.sd / std::sqrt(static_cast<double>(out.n));
  out.low = moments.mean - half;
  out.high = moments.mean + half;
  return out;
}

double student_within(double t, int64_t freedom) {
  // Abramowitz and Stegun, 26.7.3 (odd) and 26.7.4 (even): with theta = atan(t / sqrt(freedom)), a
  // sum of powers of cos(theta).
  const double theta = std::atan(t / std::sqrt(static_cast<double>(freedom)));
  const double sine = std::sin(theta), cosine = std::cos(theta);
  const bool odd = freedom % 2 == 1;
  double term = odd ? cosine : 1, sum = freedom == 1 ? 0 : term;
  for (int64_t k = odd ? 3 : 2; k <= freedom - 2; k += 2) {
    term *= cosine * cosine * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  return odd ? 2 / std::numbers::pi * (theta + sine * sum) : sine * sum;
}

double student_bound(double share, int64_t freedom) {
  double low = 0, high = 1;
  while (student_within(high, freedom) < share) high *= 2;
  // Halving until the two are neighbours.
  for (double middle = 0; middle = low + (high - low) / 2, middle > low && middle < high;)
    (student_within(middle, freedom) < share ? low : high) = middle;
  return high;
}

}  // namespace vmla::analysis
