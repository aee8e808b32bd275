#include "analysis/rank/rank_tracker.h"

#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace vmla::analysis {
namespace {

at::Tensor gaussian(uint64_t seed, std::vector<int64_t> sizes) {
  return kernels::normal({seed, 0, kernels::Purpose::kInit, 0, 0}, sizes);
}

// A layer with a decaying spectrum, a trained-looking gain and `rope` extra rows that must not
// matter.
LatentProjections make_layer(
    uint64_t seed, int64_t rows, int64_t rank, int64_t width, int64_t rope) {
  const at::Tensor decay =
      at::exp(-4.0 * at::arange(rank).to(at::kFloat) / static_cast<double>(rank));
  return {gaussian(3 * seed, {rows, rank}) * decay,
          gaussian(3 * seed + 1, {rank}).abs() + 0.3,
          gaussian(3 * seed + 2, {rank + rope, width})};
}

// Both routes run in fp64 on the same fp32 weights. The Gram route errs by eps |A|^2 |B|^2 in s^2,
// that is by at most sqrt(1e-16 * (constant ~ 10)) |A||B| ~ 3e-8 |A||B| in s; the layers below have
// |A||B| <= 3 s_1: 1e-7 of s_1.
void expect_equal_spectra(const LatentProjections& layer) {
  const LayerRank found = composed_rank(layer);
  const Spectrum expected = composed_spectrum_reference(layer);
  ASSERT_EQ(found.spectrum.size(), expected.size());
  ASSERT_EQ(found.rank, layer.kv_b.size(1));
  for (size_t k = 0; k < expected.size(); ++k) {
    EXPECT_NEAR(found.spectrum[k], expected[k], 1e-7 * expected.front()) << "value " << k;
  }
  const EffectiveRank full = effective_rank(expected);
  EXPECT_EQ(found.effective.r99, full.r99);
  EXPECT_NEAR(
      found.effective.r99_fractional, full.r99_fractional, 1e-6 * static_cast<double>(found.rank));
  EXPECT_NEAR(found.effective.stable_rank, full.stable_rank, 1e-9 * full.stable_rank);
  EXPECT_NEAR(found.effective.entropy_rank, full.entropy_rank, 1e-6 * full.entropy_rank);
}

TEST(RankTracker, EqualsTheFullSvdOfTheComposedMap) {
  expect_equal_spectra(make_layer(1, 168, 12, 96, 2));  // the shape of Wan 1.3B at 1/16
  expect_equal_spectra(make_layer(2, 40, 12, 64, 0));
  expect_equal_spectra(make_layer(3, 33, 1, 7, 4));
}

TEST(RankTracker, WideLatentsLeaveZeros) {
  expect_equal_spectra(make_layer(4, 50, 24, 16, 2));  // R > D: B·Bᵀ is singular
  expect_equal_spectra(make_layer(5, 8, 24, 60, 2));   // R > rows of kv_b
}

TEST(RankTracker, SurvivesDeadAndRepeatedLatents) {
  LatentProjections layer = make_layer(6, 96, 16, 64, 2);
  layer.kv_gain[3] = 0;                // a dead latent
  layer.kv_a[7].copy_(layer.kv_a[8]);  // two equal rows
  expect_equal_spectra(layer);
  layer.kv_a.zero_();
  const LayerRank dead = composed_rank(layer);
  EXPECT_EQ(dead.effective.r99, 0);
  EXPECT_EQ(dead.spectrum, Spectrum(16, 0.0));
}

TEST(RankTracker, TheGainCountsAndTheRopeRowsDoNot) {
  LatentProjections layer = make_layer(7, 60, 10, 40, 4);
  const Spectrum before = composed_rank(layer).spectrum;
  layer.kv_a.narrow(0, 10, 4).mul_(100);
  EXPECT_EQ(composed_rank(layer).spectrum, before);
  layer.kv_gain[0] *= 5;
  EXPECT_GT(composed_rank(layer).spectrum.front(), before.front() * 1.01);
}

TEST(RankTracker, MeasuresWithoutTouchingTheWeights) {
  LatentProjections layer = make_layer(8, 60, 10, 40, 4);
  layer.kv_b.requires_grad_();
  const at::Tensor up = layer.kv_b.detach().clone(), down = layer.kv_a.clone();
  const std::vector<LayerRank> ranks = RankTracker().measure({layer, layer});
  ASSERT_EQ(ranks.size(), 2u);
  EXPECT_EQ(ranks[0].spectrum, ranks[1].spectrum);
  EXPECT_TRUE(at::equal(up, layer.kv_b.detach()));
  EXPECT_TRUE(at::equal(down, layer.kv_a));
}

TEST(RankTracker, TheNullIsThatOfAGaussianProductAndIsKept) {
  RankTracker tracker(5);
  const LatentProjections layer = make_layer(9, 168, 12, 96, 2);
  const LayerRank& null = tracker.null_baseline(layer);
  // A product of Gaussians of shapes 168x12 and 12x96 has nearly the full rank: columns and rows
  // are almost orthogonal.
  EXPECT_GE(null.effective.r99, 11);
  EXPECT_EQ(null.spectrum.size(), 12u);
  // Same shape: the same object.
  EXPECT_EQ(&null, &tracker.null_baseline(make_layer(10, 168, 12, 96, 2)));
  EXPECT_NE(null.spectrum, RankTracker(6).null_baseline(layer).spectrum);
  EXPECT_EQ(null.spectrum, RankTracker(5).null_baseline(layer).spectrum);
}

// A layer whose weights are of these shapes; zeros, because nulls depend on the shapes alone.
LatentProjections shapes(int64_t rows, int64_t rank, int64_t width) {
  return {at::zeros({rows, rank}), at::ones({rank}), at::zeros({rank, width})};
}

double share(const LayerRank& layer) {
  return layer.effective.r99_fractional / static_cast<double>(layer.rank);
}

TEST(RankTracker, NullsOfTheTinyShapeAreThoseOfAnIndependentComputation) {
  // r_0.99 / R computed with numpy for 104 x 24 times 24 x 64: random products .914 to .925,
  // truncated SVDs .983, over many draws; one draw may lie outside by a spread of about .005.
  const RankNulls nulls = RankTracker().nulls({shapes(104, 24, 64)}, 0);
  EXPECT_NEAR(share(nulls.product[0]), 0.92, 0.011);
  EXPECT_NEAR(share(nulls.truncated[0]), 0.983, 0.004);
  EXPECT_DOUBLE_EQ(nulls.isotropic_overlap[0], 24.0 / 64);
}

TEST(RankTracker, NullsOfWansShapeAreThoseOfAnIndependentComputation) {
  // 2688 x R times R x 1536, with numpy. Draws of this size differ in the fourth digit.
  const std::vector<std::array<double, 3>> expected = {
      {64, 0.982, 0.989}, {192, 0.973, 0.988}, {512, 0.939, 0.985}};
  RankTracker tracker;
  for (const auto& [rank, product, truncated] : expected) {
    const RankNulls nulls = tracker.nulls({shapes(2688, static_cast<int64_t>(rank), 1536)}, 0);
    EXPECT_NEAR(share(nulls.product[0]), product, 0.0015) << rank;
    EXPECT_NEAR(share(nulls.truncated[0]), truncated, 0.0015) << rank;
  }
}

TEST(RankTracker, PermutedEntriesLoseWhatWeightsHave) {
  // A decaying spectrum through an orthogonal frame: its entries, permuted, are like independent
  // ones.
  const at::Tensor frame = std::get<0>(at::linalg_qr(gaussian(20, {160, 24})));
  const at::Tensor other = std::get<0>(at::linalg_qr(gaussian(21, {64, 24})));
  const at::Tensor mix = std::get<0>(at::linalg_qr(gaussian(22, {24, 24})));
  const at::Tensor decay = at::exp(-at::arange(24, at::kFloat) / 3);
  const LatentProjections layer{(frame * decay).mm(mix), at::ones({24}), mix.t().mm(other.t())};
  const RankNulls nulls = RankTracker().nulls({layer}, 40);
  const double own = composed_rank(layer).effective.entropy_rank;
  EXPECT_EQ(nulls.shuffled_step, 40);
  EXPECT_LT(own, 0.5 * nulls.shuffled[0].effective.entropy_rank);
  EXPECT_NEAR(nulls.shuffled[0].effective.entropy_rank,
              nulls.product[0].effective.entropy_rank,
              0.1 * nulls.product[0].effective.entropy_rank);
}

TEST(RankTracker, RefusesShapesThatDisagree) {
  LatentProjections layer = make_layer(11, 60, 10, 40, 0);
  layer.kv_gain = at::ones({9});
  EXPECT_THROW(composed_rank(layer), c10::Error);
}

}  // namespace
}  // namespace vmla::analysis
