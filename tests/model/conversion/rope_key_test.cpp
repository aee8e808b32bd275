#include "model/conversion/rope_key.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace vmla::model
