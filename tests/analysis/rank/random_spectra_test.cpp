#include "analysis/rank/random_spectra.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace vmla::analysis {
namespace {

TEST(RandomSpectra, AGaussianHasTheEnergyAndTheEdgesOfItsShape) {
  const Spectrum spectrum = gaussian_spectrum(600, 200);
  double energy = 0;
  for (const double s : spectrum) energy += s * s;
  // A chi-square of m n degrees of freedom: relative deviation sqrt(2 / (m n)) = 0.4 %.
  EXPECT_NEAR(energy / (600 * 200), 1, 0.02);
  // Between sqrt(m) - sqrt(n) and sqrt(m) + sqrt(n); its ends fluctuate by about n^(-2/3).
  EXPECT_NEAR(spectrum.front(), std::sqrt(600.0) + std::sqrt(200.0), 1.0);
  EXPECT_NEAR(spectrum.back(), std::sqrt(600.0) - std::sqrt(200.0), 1.0);
  EXPECT_NEAR(marchenko_pastur_edge(spectrum, 600, 200), std::sqrt(600.0) + std::sqrt(200.0), 0.2);
  EXPECT_LE(values_above(spectrum, marchenko_pastur_edge(spectrum, 600, 200)), 2);
  EXPECT_EQ(spectrum, gaussian_spectrum(600, 200));
  EXPECT_NE(spectrum, gaussian_spectrum(600, 200, 1));
}

TEST(RandomSpectra, TheSecondMomentIsMarchenkoPasturs) {
  // Of W Wᵀ / m with aspect n / m = c: the eigenvalues' mean is 1, their second moment 1 + c. So
  // the participation (Σ λ)² / Σ λ² is n / (1 + c).
  const Spectrum spectrum = gaussian_spectrum(800, 400);
  double first = 0, second = 0;
  for (const double s : spectrum) {
    first += s * s;
    second += s * s * s * s;
  }
  EXPECT_NEAR(first * first / second, 400 / 1.5, 0.01 * 400 / 1.5);
}

TEST(RandomSpectra, TheEdgeOfAUniformSpectrum) {
  // Four values of 1 in a 4 x 9 matrix: sigma² = 4 / 36.
  EXPECT_DOUBLE_EQ(marchenko_pastur_edge({1, 1, 1, 1}, 4, 9), (2.0 + 3.0) / 3.0);
  EXPECT_EQ(values_above({3, 2, 1}, 1.5), 2);
}

TEST(RandomSpectra, ShufflingKeepsTheEntriesAndNothingElse) {
  const at::Tensor matrix = at::arange(600, at::kFloat).view({20, 30});
  const at::Tensor shuffled = shuffled_entries(matrix, 3);
  EXPECT_FALSE(at::equal(matrix, shuffled));
  EXPECT_TRUE(at::equal(matrix.flatten(), std::get<0>(shuffled.flatten().sort())));
  EXPECT_TRUE(at::equal(shuffled, shuffled_entries(matrix, 3)));
  EXPECT_FALSE(at::equal(shuffled, shuffled_entries(matrix, 4)));
  // Of rank 2 before, of every rank after.
  EXPECT_LT(singular_values(matrix)[2], 1e-4 * singular_values(matrix)[0]);
  EXPECT_GT(singular_values(shuffled)[2], 1e-2 * singular_values(shuffled)[0]);
}

TEST(RandomSpectra, ShufflingIsUniform) {
  // How often each of four values comes first, in 4000 permutations: 1000 ± 4 sigma (27).
  std::array<int, 4> first{};
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    const at::Tensor shuffled = shuffled_entries(at::arange(4, at::kDouble).view({2, 2}), seed);
    ++first[static_cast<size_t>(shuffled[0][0].item<double>())];
  }
  for (const int count : first) EXPECT_NEAR(count, 1000, 110);
}

}  // namespace
}  // namespace vmla::analysis
