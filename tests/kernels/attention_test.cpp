#include "kernels/attention/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kernels/attention/head_attention.h"
#include "kernels/attention/head_attention_cpu.h"
#include "kernels/attention/merge_part.h"
#include "kernels/attention/segment_merge.h"
#include "tests/kernels/attention_plans.h"
#include "tests/kernels/draws.h"
#include "tests/support/gradient_check.h"

namespace vmla::kernels {
namespace {

using tests::attention_plans;
using tests::draw;
using tests::near_max;
using tests::same_bits;
using tests::TestPlan;

// fp32: scores of a few units are sums of K products, so a weight is off by about |score| * sqrt(K)
// * 2^-24, and the output averages values with such weights; 2e-6 of the largest output is ten
// times what is seen.
constexpr double kTolerance32 = 2e-6;
// bf16: output and weights are rounded to 2^-9, some backends round the merged parts once more.
constexpr double kTolerance16 = 2e-2;

struct Heads {
  int64_t B, N, K, V;
};
const Heads kHeads[] = {{1, 1, 1, 1}, {2, 3, 7, 7}, {2, 2, 16, 16}, {1, 2, 33, 20}, {2, 1, 12, 17}};

struct Inputs {
  at::Tensor q, k, v;
};
Inputs inputs_of(const TestPlan& plan, const Heads& h, at::ScalarType dtype = at::kDouble) {
  return {draw(1, {h.B, plan.queries, h.N, h.K}).to(dtype),
          draw(2, {h.B, plan.keys, h.N, h.K}).to(dtype),
          draw(3, {h.B, plan.values, h.N, h.V}).to(dtype)};
}

double scale_of(const Heads& h) {
  return 1 / std::sqrt(static_cast<double>(h.K));
}

void expect_like_reference(const TestPlan& plan,
                           const Heads& h,
                           at::ScalarType dtype,
                           double tolerance) {
  const Inputs in = inputs_of(plan, h, dtype);
  const double scale = scale_of(h);
  const AttentionOutput got = segmented_attention(in.q, in.k, in.v, plan.segments, scale);
  const AttentionOutput expected = segmented_attention_reference(
      in.q.to(at::kDouble), in.k.to(at::kDouble), in.v.to(at::kDouble), plan.segments, scale);
  SCOPED_TRACE(plan.name + " K=" + std::to_string(h.K) + " V=" + std::to_string(h.V));
  EXPECT_EQ(got.out_BLNV.scalar_type(), dtype);
  EXPECT_EQ(got.lse_BNL.scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
  EXPECT_TRUE(near_max(got.out_BLNV, expected.out_BLNV, tolerance));
  EXPECT_TRUE(near_max(got.lse_BNL, expected.lse_BNL, tolerance));
}

TEST(MergePart, MatchesTheReferenceAndAttentionToAllKeys) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const auto sums = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const SdpaOutput part{draw(90, {2, 3, 7, 33}, dtype).transpose(1, 2),
                          draw(91, {2, 3, 7}, sums)};
    const auto run = [&](auto&& merge) {
      at::Tensor out = draw(92, {2, 9, 3, 33}, sums), lse = draw(93, {2, 3, 9}, sums);
      lse.narrow(2, 2, 3).fill_(-std::numeric_limits<double>::infinity());
      merge(out.narrow(1, 2, 7), lse.narrow(2, 2, 7), part);
      return std::pair{out, lse};
    };
    const auto [out, lse] = run(merge_part_);
    const auto [expected, expected_lse] = run(merge_part_reference_);
    // Three exponentials and a logarithm, each of two roundings, and two products.
    const double tolerance = (dtype == at::kDouble ? 0x1p-53 : 0x1p-24) * 16;
    EXPECT_TRUE(near_max(out, expected, tolerance)) << dtype;
    EXPECT_TRUE(near_max(lse, expected_lse, tolerance)) << dtype;
    // Rows that nothing was in before are the part's.
    EXPECT_TRUE(near_max(out.narrow(1, 2, 3), part.out_BLNV.narrow(1, 0, 3).to(sums), tolerance));
  }
}

TEST(SegmentedAttention, MatchesTheDenseMaskInEveryPlanAndDtype) {
  for (const int64_t c : {1, 5, 16}) {
    for (const TestPlan& plan : attention_plans(c)) {
      for (const Heads& h : kHeads) {
        expect_like_reference(plan, h, at::kDouble, 1e-13);
        expect_like_reference(plan, h, at::kFloat, kTolerance32);
        expect_like_reference(plan, h, at::kBFloat16, kTolerance16);
      }
    }
  }
}

TEST(SegmentedAttention, UncoveredRowsAreZeroWithALogSumExpOfMinusInfinity) {
  const at::Tensor q = draw(4, {1, 4, 2, 8}, at::kFloat);
  const AttentionOutput out = segmented_attention(q, q, q, {{1, 2, 0, 0, 4}}, 0.3);
  for (const int64_t row : {0, 3}) {
    EXPECT_TRUE((out.out_BLNV.select(1, row) == 0).all().item<bool>());
    EXPECT_TRUE(at::isneginf(out.lse_BNL.select(2, row)).all().item<bool>());
  }
  EXPECT_TRUE((out.out_BLNV.select(1, 1) != 0).all().item<bool>());
}

TEST(SegmentedAttention, HasTheGradientOfCentralDifferences) {
  for (const TestPlan& plan : attention_plans(2)) {
    for (const Heads& h :
         {Heads{1, 1, 1, 1}, Heads{1, 2, 3, 3}, Heads{2, 1, 5, 2}, Heads{1, 1, 2, 4}}) {
      if (plan.segments.empty()) continue;  // no input has any influence: the next test
      const Inputs in = inputs_of(plan, h);
      const auto f = [&](const std::vector<at::Tensor>& x) {
        return segmented_attention(x[0], x[1], x[2], plan.segments, scale_of(h)).out_BLNV;
      };
      EXPECT_TRUE(tests::gradients_match(f, {in.q, in.k, in.v}))
          << plan.name << " K=" << h.K << " V=" << h.V;
    }
  }
}

TEST(SegmentedAttention, ReferenceHasTheGradientOfCentralDifferencesToo) {
  for (const TestPlan& plan : attention_plans(2)) {
    const Inputs in = inputs_of(plan, {1, 2, 3, 2});
    const auto f = [&](const std::vector<at::Tensor>& x) {
      return segmented_attention_reference(x[0], x[1], x[2], plan.segments, 0.5).out_BLNV;
    };
    EXPECT_TRUE(tests::gradients_match(f, {in.q, in.k, in.v})) << plan.name;
  }
}

TEST(SegmentedAttention, GivesZeroGradientsWithoutSegments) {
  const at::Tensor q = draw(5, {1, 3, 2, 8}, at::kFloat).requires_grad_();
  segmented_attention(q, q.detach(), q.detach(), {}, 1.0).out_BLNV.sum().backward();
  EXPECT_TRUE(same_bits(q.grad(), at::zeros_like(q)));
}

TEST(SegmentedAttention, GradientInFp32AndBf16FollowsFp64) {
  for (const TestPlan& plan : attention_plans(5)) {
    if (plan.segments.empty()) continue;
    for (const Heads& h : kHeads) {
      const auto f = [&](const std::vector<at::Tensor>& x) {
        return segmented_attention(x[0], x[1], x[2], plan.segments, scale_of(h)).out_BLNV;
      };
      const at::Tensor g = draw(6, {h.B, plan.queries, h.N, h.V});
      for (const auto& [dtype, tolerance] :
           {std::pair{at::kFloat, 4 * kTolerance32}, {at::kBFloat16, 2 * kTolerance16}}) {
        const Inputs in = inputs_of(plan, h, dtype);
        const auto exact = tests::autograd_gradients(
            f,
            {in.q.to(at::kDouble), in.k.to(at::kDouble), in.v.to(at::kDouble)},
            g.to(dtype).to(at::kDouble));
        const auto got = tests::autograd_gradients(f, {in.q, in.k, in.v}, g.to(dtype));
        for (size_t i = 0; i < 3; ++i) {
          // One channel of values: the output may hardly depend on the scores, whose gradient is
          // then rounding alone.
          if (h.V == 1 && i < 2) continue;
          EXPECT_TRUE(near_max(got[i], exact[i], tolerance))
              << plan.name << " input " << i << " K=" << h.K;
        }
      }
    }
  }
}

TEST(SegmentedAttention, ReadsStridedInputs) {
  const at::Tensor packed =
      draw(7, {2, 12, 3, 3, 10}, at::kFloat);  // q, k, v interleaved, heads wider than used
  const auto part = [&](int64_t i) { return packed.select(2, i).narrow(3, 1, 8); };
  for (const TestPlan& plan : attention_plans(3)) {
    if (plan.queries > 12 || plan.keys > 12) continue;
    const at::Tensor q = part(0).narrow(1, 0, plan.queries);
    const at::Tensor k = part(1).narrow(1, 0, plan.keys);
    const at::Tensor v = part(2).narrow(1, 0, plan.values);
    const at::Tensor expected =
        segmented_attention(q.contiguous(), k.contiguous(), v.contiguous(), plan.segments, 0.4)
            .out_BLNV;
    EXPECT_TRUE(
        near_max(segmented_attention(q, k, v, plan.segments, 0.4).out_BLNV, expected, kTolerance32))
        << plan.name;
    // A last stride other than 1, and a head shared by all.
    const at::Tensor kt = k.transpose(1, 3).contiguous().transpose(1, 3);
    EXPECT_TRUE(near_max(
        segmented_attention(q, kt, v, plan.segments, 0.4).out_BLNV, expected, kTolerance32))
        << plan.name;
    const at::Tensor shared = k.narrow(2, 0, 1).expand({2, plan.keys, 3, 8});
    EXPECT_TRUE(
        near_max(segmented_attention(q, shared, v, plan.segments, 0.4).out_BLNV,
                 segmented_attention(q, shared.contiguous(), v, plan.segments, 0.4).out_BLNV,
                 kTolerance32))
        << plan.name;
  }
}

TEST(SegmentedAttention, GivesTheSameBitsWithAndWithoutGradient) {
  for (const TestPlan& plan : attention_plans(5)) {
    const Inputs in = inputs_of(plan, {2, 2, 16, 16}, at::kFloat);
    const AttentionOutput plain = segmented_attention(in.q, in.k, in.v, plan.segments, 0.25);
    const AttentionOutput recorded =
        segmented_attention(in.q.detach().requires_grad_(), in.k, in.v, plan.segments, 0.25);
    EXPECT_TRUE(recorded.out_BLNV.requires_grad());
    EXPECT_FALSE(recorded.lse_BNL.requires_grad());
    EXPECT_TRUE(same_bits(plain.out_BLNV, recorded.out_BLNV)) << plan.name;
    EXPECT_TRUE(same_bits(plain.lse_BNL, recorded.lse_BNL)) << plan.name;
  }
}

TEST(SegmentedAttention, DoesNotDependOnThePlaceInTheBatch) {
  for (const TestPlan& plan : attention_plans(5)) {
    const Inputs in = inputs_of(plan, {3, 2, 16, 16}, at::kFloat);
    const at::Tensor all = segmented_attention(in.q, in.k, in.v, plan.segments, 0.25).out_BLNV;
    for (int64_t b = 0; b < 3; ++b) {
      const at::Tensor one =
          segmented_attention(
              in.q.narrow(0, b, 1), in.k.narrow(0, b, 1), in.v.narrow(0, b, 1), plan.segments, 0.25)
              .out_BLNV;
      EXPECT_TRUE(near_max(one, all.narrow(0, b, 1), kTolerance32)) << plan.name << " " << b;
    }
  }
}

TEST(SegmentedAttention, TakesTheHeadLoopsWhereAHeadFitsTheCache) {
  const at::Tensor small = at::zeros({1, 144, 4, 16});
  const at::Tensor large = at::zeros({1, 9000, 1, 64});
  EXPECT_TRUE(fits_head_attention(small, small, small, {{0, 144, 0, 0, 144}}));
  EXPECT_FALSE(fits_head_attention(large, large, large, {{0, 9000, 0, 0, 9000}}));
  EXPECT_FALSE(
      fits_head_attention(small.to(at::kDouble), small.to(at::kDouble), small.to(at::kDouble), {}));
}

// Both fp32 paths of the CPU against fp64, forward and backward, for plans of either path.
TEST(SegmentedAttention, HasTwoCpuPathsThatAgree) {
  for (const int64_t c : {1, 5, 16, 48}) {
    for (const TestPlan& plan : attention_plans(c)) {
      for (const Heads& h : kHeads) {
        std::vector<AttentionSegment> segments;
        for (const AttentionSegment& s : plan.segments) {
          if (s.query_count > 0 && s.key_count > 0) segments.push_back(s);
        }
        const Inputs in = inputs_of(plan, h);
        const at::Tensor g = draw(9, {h.B, plan.queries, h.N, h.V});
        const double scale = scale_of(h);
        const auto f32 = [](const at::Tensor& t) { return t.to(at::kFloat); };
        const AttentionOutput exact = merge_segments(in.q, in.k, in.v, segments, scale);
        const AttentionGrads exact_grads =
            merge_segments_backward(g, in.q, in.k, in.v, exact, segments, scale);
        SCOPED_TRACE(plan.name + " c=" + std::to_string(c) + " K=" + std::to_string(h.K));
        for (const bool loops : {false, true}) {
          SCOPED_TRACE(loops ? "head loops" : "merged library calls");
          const auto forward = loops ? head_attention : merge_segments;
          const auto backward = loops ? head_attention_backward : merge_segments_backward;
          const AttentionOutput got = forward(f32(in.q), f32(in.k), f32(in.v), segments, scale);
          EXPECT_TRUE(near_max(got.out_BLNV, exact.out_BLNV, kTolerance32));
          EXPECT_TRUE(near_max(got.lse_BNL, exact.lse_BNL, kTolerance32));
          const AttentionGrads grads =
              backward(f32(g), f32(in.q), f32(in.k), f32(in.v), got, segments, scale);
          EXPECT_TRUE(near_max(grads.v_BMNV, exact_grads.v_BMNV, 4 * kTolerance32));
          if (h.V == 1) continue;  // see GradientInFp32AndBf16FollowsFp64
          EXPECT_TRUE(near_max(grads.q_BLNK, exact_grads.q_BLNK, 4 * kTolerance32));
          EXPECT_TRUE(near_max(grads.k_BMNK, exact_grads.k_BMNK, 4 * kTolerance32));
        }
      }
    }
  }
}

TEST(SegmentedAttention, KeepsLargeScoresAndNaNs) {
  // Scores of +-500: the weights of all but one key vanish, and nothing overflows.
  const at::Tensor q = draw(10, {1, 5, 2, 16}, at::kFloat) * 30;
  const at::Tensor v = draw(11, {1, 5, 2, 16}, at::kFloat);
  const AttentionOutput got = segmented_attention(q, q, v, {{0, 5, 0, 0, 5}}, 1.0);
  const AttentionOutput exact = segmented_attention_reference(
      q.to(at::kDouble), q.to(at::kDouble), v.to(at::kDouble), {{0, 5, 0, 0, 5}}, 1.0);
  EXPECT_TRUE(near_max(got.out_BLNV, exact.out_BLNV, 1e-4));
  EXPECT_TRUE(near_max(got.lse_BNL, exact.lse_BNL, 1e-6));
  at::Tensor broken = q.clone();
  broken[0][2][1][3] = NAN;
  const at::Tensor out = segmented_attention(broken, q, v, {{0, 5, 0, 0, 5}}, 1.0).out_BLNV;
  EXPECT_TRUE(at::isnan(out[0][2][1]).all().item<bool>());
  EXPECT_FALSE(at::isnan(out[0][1][1]).any().item<bool>());
  const at::Tensor seen = segmented_attention(q, broken, v, {{0, 5, 0, 0, 5}}, 1.0).out_BLNV;
  EXPECT_TRUE(at::isnan(seen.select(2, 1)).all().item<bool>());
}

TEST(QueryIntervals, CutWhereTheSetOfSegmentsChanges) {
  const HeadAttentionPlan plan =
      plan_query_intervals({{2, 6, 0, 0, 3}, {4, 2, 3, 3, 2}, {4, 2, 9, 9, 1}}, 10);
  ASSERT_EQ(plan.intervals.size(),
            5u);  // [0,2) nothing, [2,4), [4,6) with more keys, [6,8), [8,10) nothing
  EXPECT_EQ(plan.intervals[0].range_count, 0);
  EXPECT_EQ(plan.intervals[1].range_count, 1);
  EXPECT_EQ(plan.intervals[2].range_count, 2);  // keys 0..3 and 3..5 are one range
  EXPECT_EQ(plan.ranges[static_cast<size_t>(plan.intervals[2].first_range)].count, 5);
  EXPECT_EQ(plan.intervals[4].query_begin, 8);
  EXPECT_EQ(plan.intervals[4].range_count, 0);
}

TEST(SegmentedAttention, RefusesSegmentsOutsideTheTensors) {
  const at::Tensor q = at::ones({1, 4, 1, 8});
  for (const AttentionSegment& bad : {AttentionSegment{1, 4, 0, 0, 4},
                                      {0, 4, 2, 0, 3},
                                      {0, 4, 0, 2, 3},
                                      {-1, 2, 0, 0, 1},
                                      {0, 4, 0, 0, -1}}) {
    EXPECT_THROW(segmented_attention(q, q, q, {bad}, 1.0), c10::Error);
  }
  EXPECT_THROW(segmented_attention(q, at::ones({1, 4, 1, 7}), q, {}, 1.0), c10::Error);
}

}  // namespace
}  // namespace vmla::kernels
