#include "analysis/rank/subspace.h"

#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace vmla::analysis {
namespace {

at::Tensor gaussian(uint64_t seed, std::vector<int64_t> sizes) {
  return kernels::normal({seed, 0, kernels::Purpose::kInit, 0, 0}, sizes);
}

TEST(Subspace, AnglesOfTwoPlanes) {
  // The planes (x, y) and (x, y turned by 30 degrees towards z): angles 0 and 30.
  const double turn = std::numbers::pi / 6;
  const at::Tensor a = at::tensor({2.0, 1.0, 0.0, 0.0, 3.0, 0.0}, at::kDouble).view({2, 3});
  const at::Tensor b =
      at::tensor({1.0, 0.0, 0.0, 0.0, std::cos(turn), std::sin(turn)}, at::kDouble).view({2, 3});
  const Spectrum cosines = principal_cosines(row_space(a), row_space(b));
  ASSERT_EQ(cosines.size(), 2u);
  EXPECT_NEAR(cosines[0], 1, 1e-12);
  EXPECT_NEAR(cosines[1], std::cos(turn), 1e-12);
  EXPECT_NEAR(subspace_overlap(cosines), (1 + 0.75) / 2, 1e-12);
}

TEST(Subspace, MixingTheRowsDoesNotTurnIt) {
  const at::Tensor rows = gaussian(1, {8, 40}), mix = gaussian(2, {8, 8});
  const Spectrum cosines = principal_cosines(row_space(rows), row_space(mix.mm(rows)));
  EXPECT_NEAR(subspace_overlap(cosines), 1, 1e-6);  // fp32 rows of the mixture
}

TEST(Subspace, ARandomOneOverlapsByItsShareOfTheDimensions) {
  // Mean r / d = 0.2; a draw of 24 x 120 deviates by about sqrt(2) (1 - r/d) / d = 0.9 %.
  const Spectrum cosines =
      principal_cosines(row_space(gaussian(3, {24, 120})), row_space(gaussian(4, {24, 120})));
  EXPECT_NEAR(subspace_overlap(cosines), 0.2, 0.04);
}

TEST(Subspace, OrthogonalAndWideOnes) {
  const at::Tensor unit = at::eye(6, at::kDouble);
  EXPECT_NEAR(
      subspace_overlap(principal_cosines(unit.narrow(0, 0, 2), unit.narrow(0, 3, 2))), 0, 1e-12);
  // More rows than dimensions: the whole space.
  EXPECT_EQ(row_space(gaussian(5, {9, 4})).sizes(), (std::vector<int64_t>{4, 4}));
}

}  // namespace
}  // namespace vmla::analysis
