#include "kernels/rope_3d/rope_3d.h"

#include <gtest/gtest.h>

#include "tests/kernels/draws.h"
#include "tests/support/gradient_check.h"

namespace vmla::kernels {
namespace {

using tests::draw;
using tests::near_max;
using tests::same_bits;

constexpr double kTolerance32 = 6 * 0x1p-24;  // rounded inputs and table, two products, one sum

// Any angles will do: rotation is tested apart from the table.
RopeTable random_table(int64_t L, int64_t num_pairs, at::ScalarType dtype) {
  const at::Tensor angle = draw(1, {L, num_pairs}) * 3;
  return {angle.cos().to(dtype), angle.sin().to(dtype)};
}

TEST(RopeTable, HoldsTheAnglesOfTheDefinition) {
  const RopePairSet wan{{0, 1, 5, 22, 26, 43, 47}, {22, 21, 21}, 10000.0};
  const RopeTable table = rope_table({3, 9}, 2, 5, wan, at::kDouble);
  ASSERT_EQ(table.cos.sizes(), (at::IntArrayRef{20, 7}));
  // Token 17 is frame 1 (time 9), row 1, column 2. Pair 5 turns at 10000^(-5/22), pair 26 is the
  // 4th of height, pair 47 the 4th of width: both 10000^(-4/21) = 0.173.
  const auto angle = [&](int64_t token, int64_t p) {
    return std::atan2(table.sin[token][p].item<double>(), table.cos[token][p].item<double>());
  };
  const auto turned = [](double a) { return std::remainder(a, 2 * M_PI); };
  EXPECT_NEAR(angle(17, 0), turned(9.0), 1e-12);
  EXPECT_NEAR(angle(17, 2), turned(9.0 * std::pow(10000.0, -5.0 / 22)), 1e-12);
  EXPECT_NEAR(angle(17, 3), 1.0, 1e-12);
  EXPECT_NEAR(angle(17, 4), std::pow(10000.0, -4.0 / 21), 1e-12);
  EXPECT_NEAR(angle(17, 5), 2.0, 1e-12);
  EXPECT_NEAR(angle(17, 6), 2 * std::pow(10000.0, -4.0 / 21), 1e-12);
  EXPECT_NEAR(angle(0, 1), 3 * std::pow(10000.0, -1.0 / 22), 1e-12);
}

TEST(RopeTable, IsFormedInFp64) {
  const RopePairSet set{{0}, {1, 0, 0}, 10000.0};
  const RopeTable table = rope_table({1000003}, 1, 1, set, at::kFloat);
  EXPECT_EQ(table.cos.scalar_type(), at::kFloat);
  EXPECT_FLOAT_EQ(table.cos.item<float>(), static_cast<float>(std::cos(1000003.0)));
}

TEST(RopeTable, RefusesAPairOutsideTheHead) {
  EXPECT_THROW(rope_table({0}, 1, 1, {{5}, {2, 2, 1}, 10000.0}, at::kFloat), c10::Error);
}

TEST(ApplyRope, MatchesTheReferenceOverOddSizes) {
  for (const int64_t K : {2, 7, 16, 33}) {
    for (const int64_t L : {1, 5}) {
      const int64_t num_pairs = std::max<int64_t>(1, K / 3);
      for (const int64_t first : {int64_t{0}, K - 2 * num_pairs}) {
        const at::Tensor x = draw(2, {2, L, 3, K});
        const RopeTable table = random_table(L, num_pairs, at::kDouble);
        const at::Tensor expected = apply_rope_reference(x, table, first);
        EXPECT_TRUE(near_max(apply_rope(x, table, first), expected, 1e-15)) << K << " " << L;
        const RopeTable table32 = random_table(L, num_pairs, at::kFloat);
        const at::Tensor y32 = apply_rope(x.to(at::kFloat), table32, first);
        EXPECT_TRUE(y32.is_contiguous());
        EXPECT_TRUE(near_max(y32, expected, kTolerance32)) << K << " " << L;
        const at::Tensor x16 = x.to(at::kBFloat16);
        const at::Tensor y16 = apply_rope(x16, table32, first);
        EXPECT_EQ(y16.scalar_type(), at::kBFloat16);
        EXPECT_TRUE(near_max(y16, apply_rope_reference(x16.to(at::kDouble), table, first), 0x1p-8))
            << K << " " << L;
      }
    }
  }
}

TEST(ApplyRope, LeavesOtherChannelsAlone) {
  const at::Tensor x = draw(3, {2, 5, 3, 16}, at::kFloat);
  const at::Tensor y = apply_rope(x, random_table(5, 3, at::kFloat), 8);
  EXPECT_TRUE(same_bits(y.narrow(3, 0, 8), x.narrow(3, 0, 8)));
  EXPECT_TRUE(same_bits(y.narrow(3, 14, 2), x.narrow(3, 14, 2)));
}

TEST(ApplyRope, ReadsStridedHeads) {
  const RopeTable table = random_table(5, 4, at::kFloat);
  const at::Tensor wide = draw(4, {2, 5, 3, 24}, at::kFloat);
  for (const at::Tensor& x : {wide.narrow(3, 3, 8),  // the rope part of a wider head
                              wide.narrow(3, 16, 8).narrow(2, 1, 1),  // one shared head
                              wide.transpose(0, 1).contiguous().transpose(0, 1),
                              wide.narrow(0, 0, 1).expand({4, 5, 3, 24})}) {
    EXPECT_TRUE(same_bits(apply_rope(x, table), apply_rope(x.contiguous(), table)));
  }
}

TEST(ApplyRope, HasTheGradientOfCentralDifferences) {
  for (const int64_t K : {2, 7, 16}) {
    const int64_t num_pairs = K / 2;
    const RopeTable table = random_table(5, num_pairs, at::kDouble);
    const auto f = [&](const std::vector<at::Tensor>& in) {
      return apply_rope(in[0], table, K % 2);
    };
    EXPECT_TRUE(tests::gradients_match(f, {draw(5, {2, 5, 3, K})})) << K;
  }
}

TEST(ApplyRope, GradientInFp32FollowsFp64) {
  const at::Tensor x = draw(6, {2, 5, 3, 16});
  const at::Tensor g = draw(7, {2, 5, 3, 16});
  const auto rotate = [](at::ScalarType dtype) {
    return [dtype](const std::vector<at::Tensor>& in) {
      return apply_rope(in[0], random_table(5, 5, dtype), 3);
    };
  };
  const auto exact = tests::autograd_gradients(rotate(at::kDouble), {x}, g);
  const auto got =
      tests::autograd_gradients(rotate(at::kFloat), {x.to(at::kFloat)}, g.to(at::kFloat));
  EXPECT_TRUE(near_max(got[0], exact[0], kTolerance32));
}

TEST(ApplyRope, DependsOnPositionDifferencesAlone) {
  const RopePairSet set{{0, 1, 2, 3, 4}, {3, 1, 1}, 10000.0};
  const at::Tensor q = draw(8, {1, 4, 2, 10});
  const at::Tensor k = draw(9, {1, 4, 2, 10});
  const auto scores = [&](int64_t shift) {
    const RopeTable table = rope_table({shift}, 2, 2, set, at::kDouble);
    const at::Tensor rotated_q = apply_rope(q, rope_table({shift + 3}, 2, 2, set, at::kDouble));
    return at::matmul(rotated_q.transpose(1, 2), apply_rope(k, table).permute({0, 2, 3, 1}));
  };
  EXPECT_TRUE(near_max(scores(17), scores(0), 1e-13));
}

TEST(ApplyRope, GivesTheSameBitsWithAndWithoutGradient) {
  const at::Tensor x = draw(10, {2, 5, 3, 16}, at::kFloat);
  const RopeTable table = random_table(5, 8, at::kFloat);
  EXPECT_TRUE(same_bits(apply_rope(x, table), apply_rope(x.detach().requires_grad_(), table)));
}

}  // namespace
}  // namespace vmla::kernels
