#include "model/conversion/rope_key.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

TEST(RopeKey, OneHeadLosesNothing) {
  const at::Tensor rows = draw("rows", {6, 10}), bias = draw("bias", {6});
  const SharedRopeKey key = shared_rope_key(rows, bias, 1);
  EXPECT_NEAR(key.energy_lost, 0.0, 1e-14);
  EXPECT_LT(max_difference(key.weight, rows), 1e-14);
  EXPECT_LT(max_difference(key.bias, bias), 1e-14);
  EXPECT_LT(max_difference(turn_query_rows(rows, key, 1), rows), 1e-14);
}

TEST(RopeKey, LossIsTheShareBeyondTheTopEigenvalue) {
  // Two pairs of three heads; by real arithmetic: the complex rows as real 2 x 2 blocks have every
  // eigenvalue twice, so the squared singular values of their stack are those of the moment,
  // doubled.
  const int64_t heads = 3, rope = 4, width = 7;
  const at::Tensor rows = draw("rows", {heads * rope, width}), bias = draw("bias", {heads * rope});
  const at::Tensor all = at::cat({rows, bias.unsqueeze(1)}, 1).unflatten(0, {heads, rope / 2, 2});
  double kept = 0, total = 0;
  for (int64_t pair = 0; pair < rope / 2; ++pair) {
    const at::Tensor re = all.select(1, pair).select(1, 0), im = all.select(1, pair).select(1, 1);
    const at::Tensor stacked = at::cat({at::cat({re, -im}, 1), at::cat({im, re}, 1)}, 0);
    const at::Tensor s = at::linalg_svdvals(stacked).square();
    kept += (s[0] + s[1]).item<double>() / 2;
    total += s.sum().item<double>() / 2;
  }
  const SharedRopeKey key = shared_rope_key(rows, bias, heads);
  EXPECT_NEAR(key.energy_lost, 1.0 - kept / total, 1e-12);
  EXPECT_GT(key.energy_lost, 0.05);
  // The shared key carries exactly the energy that is kept.
  const double carried = (key.weight.square().sum() + key.bias.square().sum()).item<double>();
  EXPECT_NEAR(carried, kept, 1e-11);
}

TEST(RopeKey, TheTurnCommutesWithRotation) {
  const int64_t heads = 3, rope = 4, tokens = 12;
  const SharedRopeKey key =
      shared_rope_key(draw("rows", {heads * rope, 7}), draw("bias", {heads * rope}), heads);
  const kernels::RopeTable table = kernels::rope_table(
      {0, 5}, 2, 3, {{0, 3}, {2, 2, 2}}, at::TensorOptions().dtype(at::kDouble));
  const auto rotated = [&](const at::Tensor& rows) {  // [N P, L]
    const at::Tensor q_BLNP = rows.t().unflatten(1, {heads, rope}).unsqueeze(0).contiguous();
    return kernels::apply_rope(q_BLNP, table).squeeze(0).flatten(1).t();
  };
  const at::Tensor query = draw("query", {heads * rope, tokens});
  const at::Tensor turned_first = rotated(turn_query_rows(query, key, heads));
  const at::Tensor turned_last = turn_query_rows(rotated(query).contiguous(), key, heads);
  EXPECT_LT(max_difference(turned_first, turned_last), 1e-12);
}

/// The rotation of one pair by `angle`, of rows [n 2, ...] of that pair.
at::Tensor rotated(const at::Tensor& rows, double angle) {
  const at::Tensor pairs = rows.unflatten(0, {-1, 2});
  const at::Tensor x = pairs.select(1, 0), y = pairs.select(1, 1);
  return at::stack(
             {x * std::cos(angle) - y * std::sin(angle), x * std::sin(angle) + y * std::cos(angle)},
             1)
      .flatten(0, 1);
}

TEST(RopeKey, TurnsCommuteWithRope) {
  const int64_t heads = 5;
  const at::Tensor rows = draw("rows", {heads * 2, 7}), bias = draw("bias", {heads * 2});
  const at::Tensor queries = draw("queries", {heads * 2, 3});
  for (const HeadMix mix : {HeadMix::kComplex, HeadMix::kReal, HeadMix::kMean}) {
    const SharedRopeKey key = shared_rope_key(rows, bias, heads, mix);
    EXPECT_LT(max_difference(turn_query_rows(rotated(queries, 0.7), key, heads),
                             rotated(turn_query_rows(queries, key, heads), 0.7)),
              1e-12);
    const SharedRopeKey turned =
        shared_rope_key(rotated(rows, 0.7), rotated(bias, 0.7), heads, mix);
    EXPECT_LT(max_difference(turned.weight, rotated(key.weight, 0.7)), 1e-12);
  }
}

TEST(RopeKey, ComplexKeepsMostThenRealThenMean) {
  const int64_t heads = 4;
  const at::Tensor rows = draw("rows", {heads * 6, 7}), bias = draw("bias", {heads * 6});
  const at::Tensor half = draw("inputs", {8, 8});
  const at::Tensor inputs = half.matmul(half.t());
  const auto lost = [&](HeadMix mix) {
    return shared_rope_key(rows, bias, heads, mix, inputs).energy_lost;
  };
  EXPECT_LT(lost(HeadMix::kComplex), lost(HeadMix::kReal));
  EXPECT_LT(lost(HeadMix::kReal), lost(HeadMix::kMean));
  // The mean's loss is that of k_h replaced by the mean of the heads, over inputs of that moment.
  const at::Tensor all = at::cat({rows, bias.unsqueeze(1)}, 1).matmul(half);
  const at::Tensor per_head = all.unflatten(0, {heads, 6});
  const double missed = (per_head - per_head.mean(0, true)).square().sum().item<double>();
  EXPECT_NEAR(lost(HeadMix::kMean), missed / all.square().sum().item<double>(), 1e-12);
}

}  // namespace
}  // namespace vmla::model
