#include "model/conversion/refine.h"

#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace vmla::model {
namespace {

at::Tensor draw(uint64_t sample, at::IntArrayRef sizes) {
  return kernels::normal({11, 0, kernels::Purpose::kInit, 0, sample}, sizes).to(at::kDouble);
}

/// Keys [18, 16] and values [24, 16], stacked, whose singular values fall off, and the objective of
/// a balanced method on inputs whose directions differ in size.
constexpr int64_t kKeys = 18, kValues = 24, kWidth = 16, kRank = 6;
at::Tensor joint() {
  return draw(0, {kKeys + kValues, kWidth}) * at::logspace(0, -1.2, kWidth, 10, at::kDouble);
}
LowRankObjective calibrated() {
  const at::Tensor x = draw(1, {200, kWidth}) * at::logspace(-0.8, 0, kWidth, 10, at::kDouble);
  at::Tensor weight = at::ones({kKeys + kValues, 1}, at::kDouble);
  weight.narrow(0, 0, kKeys).fill_(2.5);
  return {.row_weight = weight, .moment = x.t().mm(x) / 200};
}

/// Keys and values with latents of their own, as svd_split starts.
LowRank split_start() {
  const at::Tensor all = joint();
  const LowRank key = truncated_svd(all.narrow(0, 0, kKeys), kRank / 2);
  const LowRank value = truncated_svd(all.narrow(0, kKeys, kValues), kRank / 2);
  return {.up = at::block_diag({key.up, value.up}),
          .down = at::cat({key.down, value.down}, 0),
          .energy_kept = 0,
          .optimal_error = 0};
}

/// The problem in coordinates where the objective is a plain distance.
struct Plain {
  at::Tensor target, singular_values, right_rn;  // right singular vectors, the first kRank
  explicit Plain(const LowRankObjective& objective) {
    target = joint();
    if (objective.row_weight.defined()) target = objective.row_weight * target;
    if (objective.moment.defined()) target = target.mm(whitening_factor(objective.moment));
    const auto [u, s, vt] = at::linalg_svd(target, false);
    singular_values = s;
    right_rn = vt.narrow(0, 0, kRank);
  }
  double squared(int64_t i) const { return std::pow(singular_values[i].item<double>(), 2); }
  double sum(int64_t begin, int64_t end) const {
    double energy = 0;
    for (int64_t i = begin; i < end; ++i) energy += squared(i);
    return energy;
  }
  double optimum() const { return std::sqrt(sum(kRank, kWidth) / sum(0, kWidth)); }
};

TEST(Refine, NeverRisesAndReachesTheOptimumAsFastAsTheSpectrumAllows) {
  for (const bool with_data : {false, true}) {
    const LowRankObjective objective = with_data ? calibrated() : LowRankObjective{};
    const Plain plain(objective);
    const LowRank start = split_start();
    const Refinement found = refine(joint(), start, objective, 60);
    ASSERT_GT(found.errors.size(), 5u);
    for (size_t k = 1; k < found.errors.size(); ++k)
      EXPECT_LT(found.errors[k], found.errors[k - 1]);
    EXPECT_GT(found.errors.front(), 1.02 * plain.optimum());
    EXPECT_GE(found.errors.back(), plain.optimum() * (1 - 1e-12));

    // A step is one of orthogonal iteration: the tangent of the largest angle between the rows of
    // `down` and the best space shrinks by λ_{r+1}/λ_r at least, λ = s², and the energy that is
    // missed beyond the optimum is at most sin² of it times λ_1 + ... + λ_r.
    const at::Tensor rows =
        objective.moment.defined() ? start.down.mm(whitening_factor(objective.moment)) : start.down;
    const at::Tensor basis = std::get<0>(at::linalg_qr(rows.t()));
    const double cosine = at::linalg_svdvals(plain.right_rn.mm(basis)).min().item<double>();
    const double tangent = std::sqrt(1 - cosine * cosine) / cosine;
    const double ratio = plain.squared(kRank) / plain.squared(kRank - 1);
    for (size_t k = 1; k < found.errors.size(); ++k) {
      const double excess =
          (std::pow(found.errors[k], 2) - std::pow(plain.optimum(), 2)) * plain.sum(0, kWidth);
      const double bound =
          std::pow(tangent * std::pow(ratio, static_cast<double>(k)), 2) * plain.sum(0, kRank);
      EXPECT_LE(excess, bound + 1e-13 * plain.sum(0, kWidth)) << with_data << " step " << k;
    }
    EXPECT_NEAR(found.errors.back(), plain.optimum(), 1e-6 * plain.optimum());
  }
}

TEST(Refine, TheFactorsHaveTheErrorThatIsSaid) {
  const LowRankObjective objective = calibrated();
  const Refinement found = refine(joint(), split_start(), objective, 3);
  ASSERT_EQ(found.errors.size(), 4u);
  const at::Tensor missed =
      objective.row_weight * (joint() - found.factors.up.mm(found.factors.down));
  const double share = std::sqrt(energy_of(missed, objective.moment) /
                                 energy_of(objective.row_weight * joint(), objective.moment));
  EXPECT_NEAR(share, found.errors.back(), 1e-7);  // the moment's damping, 1e-8 of its mean
  EXPECT_NEAR(found.factors.energy_kept, 1 - share * share, 1e-7);
}

TEST(Refine, LeavesTheOptimumAlone) {
  const LowRankObjective objective = calibrated();
  LowRank whitened = whitened_svd(objective.row_weight * joint(), objective.moment, kRank);
  whitened.up = whitened.up / objective.row_weight;
  const LowRank plain = truncated_svd(joint(), kRank);
  for (const auto& [start, what] :
       {std::pair<LowRank, LowRankObjective>{whitened, objective}, {plain, {}}}) {
    const Refinement found = refine(joint(), start, what, 20);
    const at::Tensor before = start.up.mm(start.down);
    const double changed = (found.factors.up.mm(found.factors.down) - before).norm().item<double>();
    // Subspaces of an eigendecomposition are exact to fp64's epsilon over the gap.
    EXPECT_LE(changed, 1e-9 * before.norm().item<double>());
    // And in the same form, up to signs.
    EXPECT_LT((found.factors.down.abs() - start.down.abs()).abs().max().item<double>(),
              1e-6 * start.down.abs().max().item<double>());
  }
}

TEST(Refine, TakesDeadAndSpareLatents) {
  // A start of zeros: the first step finds some space, and later ones the best.
  LowRank dead = split_start();
  dead.up.zero_();
  dead.down.zero_();
  const Plain plain({});
  const Refinement found = refine(joint(), dead, {}, 80);
  EXPECT_DOUBLE_EQ(found.errors.front(), 1);
  EXPECT_NEAR(found.errors.back(), plain.optimum(), 1e-6);
  // More latents than columns: exact, and the sizes stay.
  LowRank wide = truncated_svd(joint(), kWidth + 4);
  wide.up.narrow(1, 0, 2).zero_();
  const Refinement whole = refine(joint(), wide, {}, 4);
  EXPECT_LT(whole.errors.back(), 1e-12);
  EXPECT_EQ(whole.factors.up.sizes(), wide.up.sizes());
  EXPECT_EQ(whole.factors.down.sizes(), wide.down.sizes());
  // Nothing to approximate.
  EXPECT_TRUE(refine(at::zeros({4, 4}), wide, {}, 3).errors.empty());
}

}  // namespace
}  // namespace vmla::model
