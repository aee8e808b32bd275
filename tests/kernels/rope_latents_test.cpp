#include "kernels/rope_3d/rope_latents.h"

#include <gtest/gtest.h>

#include "tests/kernels/draws.h"
#include "tests/support/gradient_check.h"

namespace vmla::kernels {
namespace {

using tests::draw;
using tests::near_max;
using tests::same_bits;

constexpr double kTolerance32 = 6 * 0x1p-24;  // rounded inputs and table, two products, one sum
constexpr int64_t kFirst = 3;                 // rotated channel of a query

RopeTable random_table(uint64_t stream, int64_t L, int64_t num_pairs, at::ScalarType dtype) {
  const at::Tensor angle = draw(stream, {L, num_pairs}) * 3;
  return {angle.cos().to(dtype), angle.sin().to(dtype)};
}

/// Query, own content and key, and those of a window where it has tokens.
std::vector<at::Tensor> inputs(int64_t latent, int64_t pairs, int64_t window) {
  std::vector<at::Tensor> in{draw(1, {2, 5, 3, kFirst + 2 * pairs + 1}),
                             draw(2, {2, 5, latent}),
                             draw(3, {2, 5, 2 * pairs})};
  if (window == 0) return in;
  in.push_back(draw(4, {2, window, latent}));
  in.push_back(draw(5, {2, window, 2 * pairs}));
  return in;
}

std::vector<at::Tensor> as(const std::vector<at::Tensor>& in, at::ScalarType dtype) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& t : in) out.push_back(t.to(dtype));
  return out;
}

template <class Op>
at::Tensor joined(const std::vector<at::Tensor>& in, at::ScalarType table_dtype, const Op& op) {
  const int64_t pairs = in[2].size(2) / 2;
  const bool has_window = in.size() > 3;
  const LatentPart window = has_window ? LatentPart{in[3], in[4]} : LatentPart{};
  const int64_t rows = in[2].size(1) + (has_window ? in[4].size(1) : 0);
  const RotatedLatents out = op(in[0],
                                random_table(6, 5, pairs, table_dtype),
                                kFirst,
                                window,
                                LatentPart{in[1], in[2]},
                                random_table(7, rows, pairs, table_dtype));
  return at::cat({out.query_BLNK.flatten(), out.rows_BMQ.flatten()});
}

at::Tensor fused(const std::vector<at::Tensor>& in, at::ScalarType table_dtype) {
  return joined(in, table_dtype, rope_latents);
}

TEST(RopeLatents, MatchesTheReferenceOverOddSizes) {
  for (const auto& [latent, pairs, window] :
       {std::array<int64_t, 3>{1, 1, 0}, {7, 2, 3}, {48, 8, 0}, {33, 5, 11}}) {
    const auto in = inputs(latent, pairs, window);
    const at::Tensor expected = joined(in, at::kDouble, rope_latents_reference);
    EXPECT_TRUE(near_max(fused(in, at::kDouble), expected, 1e-15)) << latent;
    EXPECT_TRUE(near_max(fused(as(in, at::kFloat), at::kFloat), expected, kTolerance32)) << latent;
    const auto in16 = as(in, at::kBFloat16);
    EXPECT_TRUE(near_max(fused(in16, at::kFloat),
                         joined(as(in16, at::kDouble), at::kDouble, rope_latents_reference),
                         0x1p-8))
        << latent;
  }
}

TEST(RopeLatents, IsTwoRotationsAndThreeConcatenations) {
  const auto in = as(inputs(24, 4, 6), at::kFloat);
  const RopeTable of_query = random_table(6, 5, 4, at::kFloat);
  const RopeTable of_key = random_table(7, 11, 4, at::kFloat);
  const at::Tensor key = apply_rope(at::cat({in[4], in[2]}, 1).unsqueeze(2), of_key).squeeze(2);
  const at::Tensor rows = at::cat({at::cat({in[3], in[1]}, 1), key}, 2);
  const RotatedLatents out =
      rope_latents(in[0], of_query, kFirst, {in[3], in[4]}, {in[1], in[2]}, of_key);
  EXPECT_TRUE(same_bits(out.query_BLNK, apply_rope(in[0], of_query, kFirst)));
  EXPECT_TRUE(same_bits(out.rows_BMQ, rows));
}

TEST(RopeLatents, ReadsPartsOfAProjectionAndSlotsOfACache) {
  const at::Tensor down = draw(8, {2, 5, 50}, at::kFloat), cache = draw(9, {2, 20, 30}, at::kFloat);
  const at::Tensor keys = draw(10, {2, 20, 8}, at::kFloat);
  const std::vector<at::Tensor> in{draw(11, {2, 3, 5, 12}, at::kFloat).transpose(1, 2),
                                   down.narrow(2, 4, 30),
                                   down.narrow(2, 37, 8),
                                   cache.narrow(1, 6, 4),
                                   keys.narrow(1, 6, 4)};
  std::vector<at::Tensor> dense;
  for (const at::Tensor& t : in) dense.push_back(t.contiguous());
  EXPECT_TRUE(same_bits(fused(in, at::kFloat), fused(dense, at::kFloat)));
}

TEST(RopeLatents, WidensAWindowInEightBits) {
  const at::Tensor steps = (draw(12, {2, 6, 24}) * 50).round().to(at::kChar);
  const at::Tensor scale = draw(13, {2, 6, 1}).abs().to(at::kBFloat16);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const auto in = as(inputs(24, 4, 6), dtype);
    const auto of = [&](const LatentPart& window) {
      return rope_latents(in[0],
                          random_table(6, 5, 4, dtype),
                          kFirst,
                          window,
                          {in[1], in[2]},
                          random_table(7, 11, 4, dtype))
          .rows_BMQ;
    };
    EXPECT_TRUE(
        same_bits(of({steps, in[4], scale}), of({steps.to(dtype) * scale.to(dtype), in[4]})))
        << dtype;
  }
}

TEST(RopeLatents, HasTheGradientOfCentralDifferences) {
  const auto f = [](const std::vector<at::Tensor>& in) { return fused(in, at::kDouble); };
  for (const int64_t window : {0, 4}) {
    EXPECT_TRUE(tests::gradients_match(f, inputs(7, 2, window))) << window;
  }
  // Where the window is a rollout's cache, its gradient is not asked for.
  auto in = inputs(7, 2, 4);
  in[1].requires_grad_();
  fused(in, at::kDouble).sum().backward();
  EXPECT_FALSE(in[3].grad().defined());
  EXPECT_TRUE(same_bits(in[1].grad(), at::ones_like(in[1])));
}

TEST(RopeLatents, GivesTheSameBitsWithAndWithoutGradient) {
  auto in = as(inputs(24, 4, 6), at::kFloat);
  const at::Tensor without = fused(in, at::kFloat);
  in[2] = in[2].detach().requires_grad_();
  const at::Tensor recorded = fused(in, at::kFloat);
  EXPECT_TRUE(recorded.requires_grad());
  EXPECT_TRUE(same_bits(without, recorded));
}

TEST(RopeLatents, TakesAScaleOfNumbersThatAreNotInEightBits) {
  const auto in = as(inputs(24, 4, 6), at::kFloat);
  const RopeTable of_query = random_table(6, 5, 4, at::kFloat);
  const RopeTable of_key = random_table(7, 11, 4, at::kFloat);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const LatentPart window{in[3], in[4], draw(14, {2, 6, 1}, dtype)};
    const auto run = [&](auto&& op) {
      return op(in[0], of_query, kFirst, window, LatentPart{in[1], in[2]}, of_key).rows_BMQ;
    };
    EXPECT_TRUE(near_max(run(rope_latents), run(rope_latents_reference), kTolerance32)) << dtype;
  }
}

TEST(RopeLatents, RefusesWhatDoesNotFit) {
  const auto in = inputs(7, 2, 4);
  const RopeTable of_query = random_table(6, 5, 2, at::kDouble);
  const RopeTable of_key = random_table(7, 9, 2, at::kDouble);
  const LatentPart window{in[3], in[4]}, own{in[1], in[2]};
  const auto refused = [&](const LatentPart& w, const LatentPart& o, const RopeTable& table) {
    EXPECT_THROW(rope_latents(in[0], of_query, kFirst, w, o, table), c10::Error);
  };
  EXPECT_NO_THROW(rope_latents(in[0], of_query, kFirst, window, own, of_key));
  refused(window, own, of_query);  // of other length
  refused(window, own, {of_key.cos, of_key.sin.narrow(0, 0, 5)});
  refused({in[3].narrow(1, 0, 2), in[4]}, own, of_key);
  refused({in[3].narrow(0, 0, 1), in[4]}, own, of_key);
  refused({in[3], in[4], at::ones({2, 2, 1})}, own, of_key);
  refused(window, {in[1], in[2], at::ones({2, 5, 1})}, of_key);
}

}  // namespace
}  // namespace vmla::kernels
