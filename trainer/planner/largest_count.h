#pragma once

#include <cstdint>

namespace vmla::trainer {

/// The largest count, up to 4096, of which `fits(count)` holds; 0: not even 1. What is asked must
/// get no easier with the count: doubling finds a range and halving the range finds the border.
template <typename Fits>
int64_t largest_count(const Fits& fits) {
  constexpr int64_t kMost = 4096;  // as good as no limit
  int64_t good = 0, bad = 1;
  while (bad <= kMost && fits(bad)) {
    good = bad;
    bad *= 2;
  }
  while (bad - good > 1) {
    const int64_t middle = (good + bad) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

}  // namespace vmla::trainer
