#pragma once

#include <cmath>
#include <cstdint>
#include <map>

/// Whether integers that were drawn are uniform.
namespace vmla::trainer {

/// Pearson's chi² of how often each value was drawn, against equal shares of `total` draws for
/// `categories` values. Values that were never drawn are not in `counts`.
inline double chi_square(const std::map<int64_t, int64_t>& counts,
                         int64_t categories,
                         double total) {
  const double expected = total / static_cast<double>(categories);
  double sum = expected * static_cast<double>(categories - static_cast<int64_t>(counts.size()));
  for (const auto& [value, count] : counts) {
    const double difference = static_cast<double>(count) - expected;
    sum += difference * difference / expected;
  }
  return sum;
}

/// chi² of n categories has n − 1 degrees of freedom; six deviations sqrt(2 (n − 1)) above its mean
/// is passed by chance less than once in 10^4.
inline double chi_square_bound(int64_t categories) {
  const double degrees = static_cast<double>(categories - 1);
  return degrees + 6 * std::sqrt(2 * degrees);
}

}  // namespace vmla::trainer
