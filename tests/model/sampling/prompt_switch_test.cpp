// Prompts over time: what the cache holds after a switch decides what follows.
#include "model/sampling/prompt_switch.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "tests/model/tiny_rollout.h"

namespace vmla::model {
namespace {

/// A network of one layer: its keys and values depend on the frame alone, not on what it saw.
ModelConfig one_layer(const std::string& attention, int64_t n, int64_t window, int64_t sink) {
  ModelConfig config = tiny_causal(attention, n, window, sink);
  config.num_layers = 1;
  config.kv_lora_rank.values.resize(1);
  if (config.is_mla()) config.rope_pair_indices.lists.resize(1);
  return config;
}

at::Tensor other_text(const ModelConfig& config) {
  return draw("other prompt", {1, 4, config.text_dim});
}

RolloutRequest switched(const RolloutRequest& request,
                        int64_t frame,
                        const at::Tensor& text,
                        PromptSwitch kind) {
  RolloutRequest r = request;
  r.prompt_changes = {{frame, text}};
  r.prompt_switch = kind;
  return r;
}

class PromptSwitching : public testing::TestWithParam<const char*> {};

TEST_P(PromptSwitching, KeepingTheSamePromptChangesNoBit) {
  for (const auto& [window, sink] : {std::pair{-1, 0}, {4, 1}, {6, 0}}) {
    TinyNetwork net(tiny_causal(GetParam(), 2, window, sink));
    const RolloutRequest r = tiny_rollout(net.config, 10);
    for (const double guidance : {1.0, 2.0}) {
      const SamplerSettings s = tiny_sampler(SamplerKind::kFewStep, guidance);
      const at::Tensor video = sampled_video(net.network(), r, s);
      const auto split = switched(r, 4, r.text_BTE, PromptSwitch::kKeep);
      EXPECT_TRUE(bit_equal(video, sampled_video(net.network(), split, s)));
    }
  }
}

TEST_P(PromptSwitching, AnotherPromptBeginsAtItsChunk) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  const RolloutRequest r = tiny_rollout(net.config, 8);
  const SamplerSettings s = tiny_sampler(SamplerKind::kFewStep);
  const at::Tensor plain = sampled_video(net.network(), r, s);
  std::vector<at::Tensor> videos;
  for (const auto kind : {PromptSwitch::kFlush, PromptSwitch::kRecache, PromptSwitch::kKeep}) {
    videos.push_back(sampled_video(net.network(), switched(r, 4, other_text(net.config), kind), s));
    EXPECT_TRUE(bit_equal(plain.narrow(1, 0, 4), videos.back().narrow(1, 0, 4)));
    EXPECT_GT(relative_difference(plain.narrow(1, 4, 2), videos.back().narrow(1, 4, 2)), 1e-6);
  }
  for (const auto& [a, b] : {std::pair{0, 1}, {0, 2}, {1, 2}}) {
    EXPECT_GT(relative_difference(videos[static_cast<size_t>(a)], videos[static_cast<size_t>(b)]),
              1e-6);
  }
  // A switch lies on a chunk's border.
  EXPECT_THROW(sampled_video(net.network(), switched(r, 5, r.text_BTE, PromptSwitch::kKeep), s),
               c10::Error);
}

TEST_P(PromptSwitching, RecachingTheSamePromptIsNoSwitch) {
  // As long as no frame has left the window, what is computed again is what was there.
  for (const auto& [window, sink] : {std::pair{-1, 0}, {8, 1}, {10, 3}}) {
    for (const bool first_alone : {false, true}) {
      for (const double guidance : {1.0, 2.0}) {
        ModelConfig config = tiny_causal(GetParam(), 2, window, sink);
        config.independent_first_frame = first_alone;
        TinyNetwork net(config);
        const int64_t extra = first_alone ? 1 : 0;
        const RolloutRequest r = tiny_rollout(config, 12 + extra);
        const SamplerSettings s = tiny_sampler(SamplerKind::kFewStep, guidance);
        const auto again = switched(r, 6 + extra, r.text_BTE, PromptSwitch::kRecache);
        const at::Tensor video = sampled_video(net.network(), r, s);
        const at::Tensor recached = sampled_video(net.network(), again, s);
        EXPECT_LT(relative_difference(recached, video), kRolloutTolerance) << window;
      }
    }
  }
}

TEST_P(PromptSwitching, RecachingPutsEveryFrameInItsPlace) {
  // After evictions too, where keys and values do not depend on what has left: in one layer. Window
  // borders inside and on chunks, rings that have turned by any amount.
  for (const auto& [n, window, sink] :
       {std::tuple{2, 6, 1}, {2, 8, 2}, {3, 6, 0}, {3, 7, 1}, {1, 5, 2}, {2, 4, 1}}) {
    TinyNetwork net(one_layer(GetParam(), n, window, sink));
    const RolloutRequest r = tiny_rollout(net.config, 9 * n);
    const SamplerSettings s = tiny_sampler(SamplerKind::kFewStep);
    const at::Tensor video = sampled_video(net.network(), r, s);
    for (int64_t chunk = 1; chunk < 8; ++chunk) {
      const auto again = switched(r, chunk * n, r.text_BTE, PromptSwitch::kRecache);
      EXPECT_LT(relative_difference(sampled_video(net.network(), again, s), video),
                kRolloutTolerance)
          << "window " << window << " sink " << sink << " chunk " << chunk;
    }
  }
}

TEST_P(PromptSwitching, RecachingIsAPastUnderTheNewPrompt) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 8, 1));
  RolloutRequest r = tiny_rollout(net.config, 10);
  for (const double guidance : {1.0, 2.0}) {
    const SamplerSettings s = tiny_sampler(SamplerKind::kFewStep, guidance);
    const auto changed = switched(r, 6, other_text(net.config), PromptSwitch::kRecache);
    const at::Tensor video = sampled_video(net.network(), changed, s);
    RolloutRequest other = r;
    other.text_BTE = other_text(net.config);
    const at::Tensor expected =
        continued_without_cache(net.network(), other, s, video.narrow(1, 0, 6));
    EXPECT_LT(relative_difference(video, expected), kRolloutTolerance);
  }
}

TEST_P(PromptSwitching, FlushingGoesOnFromTheSinkAndTwoFrames) {
  // One layer and chunks of one frame: the video goes on as one that has had these frames only, at
  // positions 0, 1, 2.
  TinyNetwork net(one_layer(GetParam(), 1, 5, 1));
  const RolloutRequest r = tiny_rollout(net.config, 12);
  const SamplerSettings s = tiny_sampler(SamplerKind::kFewStep);
  const auto changed = switched(r, 8, other_text(net.config), PromptSwitch::kFlush);
  const at::Tensor video = sampled_video(net.network(), changed, s);
  const at::Tensor past = at::cat({video.narrow(1, 0, 1), video.narrow(1, 6, 2)}, 1);
  RolloutRequest rest = r;
  rest.text_BTE = other_text(net.config);
  rest.num_frames = 7;
  const at::Tensor expected = continued_without_cache(net.network(), rest, s, past, 5);
  EXPECT_LT(relative_difference(video.narrow(1, 8, 4), expected.narrow(1, 3, 4)),
            kRolloutTolerance);
}

INSTANTIATE_TEST_SUITE_P(All,
                         PromptSwitching,
                         testing::Values("dense", "mla"),
                         [](const auto& test) { return std::string(test.param); });

TEST(PromptSwitch, KnowsItsNames) {
  EXPECT_EQ(parse_prompt_switch("flush"), PromptSwitch::kFlush);
  EXPECT_EQ(parse_prompt_switch("recache"), PromptSwitch::kRecache);
  EXPECT_EQ(parse_prompt_switch("keep"), PromptSwitch::kKeep);
  EXPECT_THROW(parse_prompt_switch("cut"), UserError);
}

TEST(AttendedLatents, KeepsWholeChunksOfTheWindow) {
  const ModelConfig config = tiny_causal("mla", 3, 7, 1);
  AttendedLatents kept(config);
  const at::Tensor chunk = at::zeros({1, 3, config.in_dim, kTinyHeight, kTinyWidth});
  for (int64_t first = 0; first < 300; first += 3) {
    kept.add(first, chunk);
    // The sink's chunk and the last 7 - 1 frames.
    EXPECT_EQ(kept.frames(), std::min<int64_t>(first + 3, 9));
  }
}

}  // namespace
}  // namespace vmla::model
