#include "analysis/rank/joint_kv.h"

#include "analysis/rank/random_spectra.h"
#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace vmla::analysis {
namespace {

at::Tensor gaussian(uint64_t sample, at::IntArrayRef sizes) {
  return kernels::normal({7, 0, kernels::Purpose::kInit, 0, sample}, sizes);
}

double energy(const LayerRank& layer) {
  double sum = 0;
  for (const double s : layer.spectrum) sum += s * s;
  return sum;
}

TEST(JointKv, IsTheSpectrumOfTheStackedMatrix) {
  const std::vector<DenseKv> layers = {{gaussian(0, {24, 24}), 3 * gaussian(1, {24, 24})},
                                       {gaussian(2, {4, 24}), gaussian(3, {6, 24})}};
  const std::vector<LayerRank> found = measure_joint(layers);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].rank, 24);
  EXPECT_EQ(found[1].rank, 10);  // fewer rows than columns
  for (size_t i = 0; i < 2; ++i) {
    const at::Tensor stacked = at::cat({layers[i].k, layers[i].v}).to(at::kDouble);
    const at::Tensor expected = at::linalg_svdvals(stacked);
    ASSERT_EQ(std::ssize(found[i].spectrum), expected.size(0));
    // The Gram matrix' eigenvalues err by its norm times fp64's epsilon, values by 1e-8 s_1.
    for (int64_t n = 0; n < expected.size(0); ++n) {
      EXPECT_NEAR(found[i].spectrum[static_cast<size_t>(n)],
                  expected[n].item<double>(),
                  1e-8 * expected[0].item<double>());
    }
  }
}

TEST(JointKv, NullsKeepTheEnergyAndLoseTheStructure) {
  // Keys of rank 2 and values of rank 3, whose rows differ in length.
  const at::Tensor lengths = at::arange(1, 49, at::kFloat).unsqueeze(1);
  const std::vector<DenseKv> layers = {{lengths * gaussian(4, {48, 2}).mm(gaussian(5, {2, 48})),
                                        lengths * gaussian(6, {48, 3}).mm(gaussian(7, {3, 48}))}};
  const LayerRank found = measure_joint(layers).front();
  const RankNulls nulls = joint_nulls(layers, 40);
  EXPECT_EQ(nulls.shuffled_step, 40);
  EXPECT_TRUE(nulls.product.empty() && nulls.truncated.empty());
  EXPECT_LE(found.effective.r99, 5);
  for (const LayerRank& null : {nulls.shuffled.front(), nulls.gaussian.front()}) {
    EXPECT_NEAR(energy(null) / energy(found), 1, 1e-5);  // of fp32's entries
    EXPECT_GT(null.effective.r99, 25);
  }
}

TEST(JointKv, GaussianRowsHaveTheLengthsAsked) {
  // All energy in one row: one singular value, as long as it.
  at::Tensor lengths = at::zeros({12}, at::kDouble);
  lengths[5] = 3;
  const Spectrum spectrum = gaussian_rows_spectrum(lengths, 8);
  ASSERT_EQ(spectrum.size(), 8u);
  EXPECT_NEAR(spectrum[0], 3, 1e-12);
  EXPECT_NEAR(spectrum[1], 0, 1e-7);
  // Rows of the length that rows of independent normals have anyway: nearly their spectrum.
  const Spectrum even = gaussian_rows_spectrum(at::full({600}, std::sqrt(200.0), at::kDouble), 200);
  EXPECT_NEAR(effective_rank(even).entropy_rank,
              effective_rank(gaussian_spectrum(600, 200)).entropy_rank,
              0.5);
}

}  // namespace
}  // namespace vmla::analysis
