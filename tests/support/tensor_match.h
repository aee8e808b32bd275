#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace vmla::tests {

/// Matches if shapes agree and max |actual - expected| <= tolerance * max(|expected|), both read as
/// fp64. NaN matches only NaN, and an infinity only itself. A failure names the worst element and
/// both values.
inline testing::AssertionResult near_max(const at::Tensor& actual,
                                         const at::Tensor& expected,
                                         double tolerance) {
  if (actual.sizes() != expected.sizes()) {
    return testing::AssertionFailure()
           << "shapes " << actual.sizes() << " and " << expected.sizes();
  }
  if (actual.numel() == 0) return testing::AssertionSuccess();
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  const at::Tensor e = expected.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  const at::Tensor same = (a == e).logical_or(at::isnan(a).logical_and(at::isnan(e)));
  const at::Tensor error = (a - e).abs().nan_to_num(INFINITY, INFINITY).masked_fill(same, 0.0);
  const double worst = error.max().item<double>();
  const double size = e.abs().nan_to_num(0.0, 0.0, 0.0).max().item<double>();
  if (worst <= tolerance * size) return testing::AssertionSuccess();
  const int64_t at = error.argmax().item<int64_t>();
  return testing::AssertionFailure()
         << "worst at flat index " << at << " of " << actual.sizes() << ": got "
         << a[at].item<double>() << ", expected " << e[at].item<double>() << "; difference "
         << worst << ", allowed " << tolerance * size << " (" << tolerance << " of the largest "
         << size << ")";
}

/// Equal shape, dtype and bits (NaN equals NaN).
inline testing::AssertionResult same_bits(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes() || actual.scalar_type() != expected.scalar_type()) {
    return testing::AssertionFailure() << actual.toString() << actual.sizes() << " and "
                                       << expected.toString() << expected.sizes();
  }
  const at::Tensor a = actual.detach().cpu().contiguous();
  const at::Tensor e = expected.detach().cpu().contiguous();
  // Tensors without elements may have no address, which memcmp must not be given.
  if (a.numel() == 0 || std::memcmp(a.const_data_ptr(), e.const_data_ptr(), a.nbytes()) == 0)
    return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "bits differ; largest difference "
         << (a.to(at::kDouble) - e.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace vmla::tests
