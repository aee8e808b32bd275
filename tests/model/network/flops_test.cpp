#include "model/network/flops.h"

#include <gtest/gtest.h>

namespace vmla::model {
namespace {

// docs/algorithms.md 15.1: one clip of 21 frames of 1560 tokens, to the digits printed there. Text
// keys and values (0.15 TFLOP in each forward) are counted with the cross-attention here.
constexpr int64_t kFrames = 21, kTokens = 1560;
constexpr double kTera = 1e12;

ModelConfig wan(const std::string& attention) {
  ModelConfig config = model_preset("wan1.3b");
  config.attention = attention;
  return config;
}

TEST(Flops, OfADenseBidirectionalForward) {
  const ForwardFlops flops = forward_flops(wan("dense"), bidirectional_plan(kFrames), kTokens);
  EXPECT_NEAR(flops.attention / kTera, 197.8, 0.05);
  EXPECT_NEAR(
      flops.linear / kTera, 81.9, 0.1);  // embeddings and head come on top of the blocks' 81.9
  EXPECT_NEAR(flops.cross / kTera, 3.1 + 0.15, 0.06);
  EXPECT_NEAR(flops.total() / kTera, 283.0, 0.2);
}

TEST(Flops, OfTheOtherMasks) {
  EXPECT_NEAR(
      forward_flops(wan("mla"), bidirectional_plan(kFrames), kTokens).total() / kTera, 275.4, 0.2);
  EXPECT_NEAR(
      forward_flops(wan("dense"), chunk_causal_plan(wan("dense"), kFrames), kTokens).total() /
          kTera,
      198.2,
      0.2);
  EXPECT_NEAR(
      forward_flops(wan("mla"), chunk_causal_plan(wan("mla"), kFrames), kTokens).total() / kTera,
      190.6,
      0.2);
}

TEST(Flops, OfTeacherForcingWithTheExactCuts) {
  const ModelConfig config = wan("mla");
  EXPECT_NEAR(forward_flops(config, teacher_forcing_plan(config, kFrames), kTokens).total() / kTera,
              336.6,
              0.4);
}

TEST(Flops, OfACachedPassCountsTheExpansionOfItsWindow) {
  // 4680 queries against 10920 cached and 4680 own keys: 24.86 TFLOP in rebuilt form, 25.60 dense.
  std::vector<int64_t> window = {0, 10, 11, 12, 13, 14, 15};
  const AttentionPlan plan = cached_plan(wan("mla"), window, 16, 3);
  // These figures leave out embeddings, head, and the text's keys and values, which a stream
  // computes once.
  EXPECT_NEAR(forward_flops(wan("mla"), plan, kTokens).total() / kTera, 24.86, 0.6);
  EXPECT_NEAR(forward_flops(wan("dense"), plan, kTokens).total() / kTera, 25.60, 0.6);
}

}  // namespace
}  // namespace vmla::model
