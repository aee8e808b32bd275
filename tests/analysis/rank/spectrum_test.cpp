#include "analysis/rank/spectrum.h"

#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace vmla::analysis {
namespace {

at::Tensor gaussian(uint64_t seed, std::vector<int64_t> sizes) {
  return kernels::normal({seed, 0, kernels::Purpose::kNull, 0, 0}, sizes);
}

TEST(Spectrum, EqualsTheFullSvdOnEveryRoute) {
  // Tall, wide (Gram routes) and square (full SVD). The Gram route squares the singular values, so
  // fp64's 1e-16 of s_1^2 becomes 1e-8 of s_1 where s is near zero; 3e-8 allows for the
  // eigensolver's own constant.
  const std::vector<std::vector<int64_t>> shapes = {{70, 13}, {13, 70}, {20, 20}, {19, 25}, {9, 1}};
  for (size_t i = 0; i < shapes.size(); ++i) {
    at::Tensor matrix = gaussian(i, shapes[i]);
    // One value is exactly zero.
    if (matrix.size(1) > 3) matrix.select(1, 2).copy_(matrix.select(1, 3));
    const Spectrum found = singular_values(matrix);
    const at::Tensor expected = at::linalg_svdvals(matrix.to(at::kDouble));
    ASSERT_EQ(found.size(), static_cast<size_t>(expected.numel()));
    const double scale = expected[0].item<double>();
    for (size_t k = 0; k < found.size(); ++k) {
      EXPECT_NEAR(found[k], expected[static_cast<int64_t>(k)].item<double>(), 3e-8 * scale)
          << i << " " << k;
      EXPECT_LE(found[k], found[k == 0 ? 0 : k - 1]);
    }
  }
}

TEST(Spectrum, RanksOfKnownSpectra) {
  // Squares 9, 0.8, 0.15, 0.05: cumulative shares 0.9, 0.98, 0.995, 1. r_0.99 = 3, two thirds into
  // the third value.
  const Spectrum spectrum = {3.0, std::sqrt(0.8), std::sqrt(0.15), std::sqrt(0.05)};
  const EffectiveRank rank = effective_rank(spectrum);
  EXPECT_EQ(rank.r99, 3);
  EXPECT_NEAR(rank.r99_fractional, 2.0 + 0.1 / 0.15, 1e-12);
  EXPECT_NEAR(rank.stable_rank, 10.0 / 9.0, 1e-14);
  const double entropy = -(0.9 * std::log(0.9) + 0.08 * std::log(0.08) + 0.015 * std::log(0.015) +
                           0.005 * std::log(0.005));
  EXPECT_NEAR(rank.entropy_rank, std::exp(entropy), 1e-13);
  EXPECT_NEAR(energy_at(spectrum, 2), 0.98, 1e-14);
  EXPECT_EQ(energy_at(spectrum, 0), 0.0);
  EXPECT_EQ(energy_at(spectrum, 4), 1.0);
  EXPECT_NEAR(fractional_rank(spectrum, 0.45), 0.5, 1e-14);
  EXPECT_NEAR(fractional_rank(spectrum, 1.0), 4.0, 1e-9);
}

TEST(Spectrum, FlatAndOneValueAndEmptySpectra) {
  const EffectiveRank flat = effective_rank(Spectrum(200, 0.5));
  EXPECT_EQ(flat.r99, 198);
  EXPECT_NEAR(flat.r99_fractional, 198.0, 1e-9);
  EXPECT_NEAR(flat.stable_rank, 200.0, 1e-9);
  EXPECT_NEAR(flat.entropy_rank, 200.0, 1e-9);
  const EffectiveRank single = effective_rank({2.0, 0.0, 0.0});
  EXPECT_EQ(single.r99, 1);
  EXPECT_NEAR(single.r99_fractional, 0.99, 1e-12);
  EXPECT_EQ(single.stable_rank, 1.0);
  EXPECT_EQ(single.entropy_rank, 1.0);
  for (const Spectrum& nothing : {Spectrum{}, Spectrum{0.0, 0.0}}) {
    const EffectiveRank none = effective_rank(nothing);
    EXPECT_EQ(none.r99, 0);
    EXPECT_EQ(none.stable_rank, 0.0);
    EXPECT_EQ(energy_at(nothing, 1), 0.0);
  }
}

}  // namespace
}  // namespace vmla::analysis
