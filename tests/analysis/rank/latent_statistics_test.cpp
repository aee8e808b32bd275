#include "analysis/rank/latent_statistics.h"

#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace vmla::analysis {
namespace {

at::Tensor gaussian(uint64_t seed, std::vector<int64_t> sizes) {
  return kernels::normal({seed, 0, kernels::Purpose::kInit, 0, 0}, sizes);
}

// Tokens whose deviations fall off, around a mean that is far from zero.
at::Tensor tokens(int64_t count) {
  return gaussian(1, {count, 6}) * at::exp(-at::arange(6, at::kFloat) / 2) + 50.0;
}

TEST(LatentStatistics, AreTheDeviationsAroundTheMean) {
  const at::Tensor all = tokens(500);
  LatentStatistics statistics;
  statistics.add(all.narrow(0, 0, 100).view({2, 50, 6}));
  statistics.add(all.narrow(0, 100, 400).view({4, 100, 6}));
  EXPECT_EQ(statistics.tokens(), 500);
  const at::Tensor centred = all.to(at::kDouble) - all.to(at::kDouble).mean(0);
  const Spectrum expected = singular_values(centred / std::sqrt(500.0));
  const LayerRank found = statistics.latents();
  ASSERT_EQ(found.rank, 6);
  // Both in fp64 on the same fp32 tokens; the mean's square, 2500, costs eps 2500 of the variance.
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(found.spectrum[i], expected[i], 1e-9);
  EXPECT_NEAR(found.effective.entropy_rank, effective_rank(expected).entropy_rank, 1e-8);
}

TEST(LatentStatistics, ContentDoesNotDependOnTheBasisOfTheLatent) {
  const at::Tensor all = tokens(300).to(at::kDouble);
  const at::Tensor up = gaussian(2, {20, 6}).to(at::kDouble);
  LatentStatistics statistics, mixed;
  statistics.add(all);
  const Spectrum expected = singular_values((all - all.mean(0)).mm(up.t()) / std::sqrt(300.0));
  const LayerRank found = statistics.content(up);
  for (size_t i = 0; i < 6; ++i)
    EXPECT_NEAR(found.spectrum[i], expected[i], 1e-7 * expected.front());
  // c written in another basis, kv_b in the inverse one: the latents' rank moves, content's does
  // not.
  const at::Tensor basis = gaussian(3, {6, 6}).to(at::kDouble) + 3 * at::eye(6, at::kDouble);
  mixed.add(all.mm(basis.t()));
  const LayerRank again = mixed.content(up.mm(at::linalg_inv(basis)));
  for (size_t i = 0; i < 6; ++i)
    EXPECT_NEAR(again.spectrum[i], expected[i], 1e-6 * expected.front());
  EXPECT_GT(std::abs(mixed.latents().effective.entropy_rank -
                     statistics.latents().effective.entropy_rank),
            0.05);
}

TEST(LatentStatistics, ALatentThatIsConstantHasRankZero) {
  LatentStatistics statistics;
  statistics.add(at::full({10, 4}, 3.0));
  EXPECT_EQ(statistics.latents().effective.r99, 0);
  EXPECT_EQ(statistics.content(at::ones({8, 4})).effective.r99, 0);
}

}  // namespace
}  // namespace vmla::analysis
