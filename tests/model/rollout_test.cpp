#include "model/rollout.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::ElementsAre;

RolloutRequest request(const ModelConfig& config, int64_t num_frames) {
  RolloutRequest r;
  r.text_BTE = draw("prompt", {1, 3, config.text_dim});
  r.negative_text_1TE = draw("negative", {1, 2, config.text_dim});
  r.num_frames = num_frames;
  r.latent_height = kTinyHeight;
  r.latent_width = kTinyWidth;
  const std::vector<int64_t> frame_shape = {1, config.in_dim, kTinyHeight, kTinyWidth};
  r.frame_noise = [=](int64_t frame) { return draw("frame" + std::to_string(frame), frame_shape); };
  r.frame_renoise = [=](int64_t frame, int64_t k) {
    return draw("again" + std::to_string(100 * k + frame), frame_shape);
  };
  return r;
}

SamplerSettings sampler(SamplerKind kind, double guidance = 1.0) {
  SamplerSettings s;
  s.kind = kind;
  s.steps = 4;
  s.guidance_scale = guidance;
  return s;
}

std::vector<RolloutChunk> chunks(TinyNetwork& net,
                                 const RolloutRequest& r,
                                 const SamplerSettings& s) {
  std::vector<RolloutChunk> emitted;
  sample_causal(net.network(), r, s, [&](const RolloutChunk& c) { emitted.push_back(c); });
  return emitted;
}

at::Tensor video(const std::vector<RolloutChunk>& emitted) {
  std::vector<at::Tensor> parts;
  for (const RolloutChunk& chunk : emitted) parts.push_back(chunk.latents_BFCHW);
  return at::cat(parts, 1);
}

class Rollout : public testing::TestWithParam<const char*> {};

TEST_P(Rollout, LongVideosBeginAsShortOnes) {
  for (const SamplerKind kind : {SamplerKind::kFewStep, SamplerKind::kEuler, SamplerKind::kUnipc}) {
    for (const auto& [window, sink] : {std::pair{-1, 0}, {4, 1}, {6, 0}}) {
      TinyNetwork net(tiny_causal(GetParam(), 2, window, sink));
      const at::Tensor longer = video(chunks(net, request(net.config, 10), sampler(kind)));
      for (const int64_t frames : {2, 6, 8}) {
        const at::Tensor shorter = video(chunks(net, request(net.config, frames), sampler(kind)));
        EXPECT_TRUE(bit_equal(longer.narrow(1, 0, frames), shorter)) << frames;
      }
    }
  }
}

/// The same video without a cache: every pass runs the clean past and the chunk under the
/// teacher-forcing mask, each prompt on its own.
at::Tensor recomputed(TinyNetwork& net, const RolloutRequest& r, const SamplerSettings& s) {
  at::Tensor past = at::empty({1, 0, net.config.in_dim, kTinyHeight, kTinyWidth}, at::kDouble);
  int64_t first = 0;
  for (const int64_t count : chunk_sizes(net.config, r.num_frames)) {
    const auto stack = [&](const std::function<at::Tensor(int64_t)>& frame) {
      std::vector<at::Tensor> frames;
      for (int64_t i = 0; i < count; ++i) frames.push_back(frame(first + i));
      return at::stack(frames, 1);
    };
    const PreparedPlan plan = prepared(net.config, teacher_forcing_plan(net.config, first + count));
    const auto flow = [&](const at::Tensor& x, double t, const at::Tensor& text) {
      // The noisy versions of the past are seen by nobody here.
      const at::Tensor frames = at::cat({past, x}, 1);
      const DitInputs noisy = {frames, at::full({1, first + count}, t, at::kDouble), text};
      return teacher_forcing_forward(net.network(), frames, noisy, plan, {})
          .narrow(1, first, count);
    };
    const auto velocity = [&](const at::Tensor& x, double t) {
      const at::Tensor positive = flow(x, t, r.text_BTE);
      if (s.guidance_scale == 1.0) return positive;
      const at::Tensor negative = flow(x, t, r.negative_text_1TE);
      return negative + s.guidance_scale * (positive - negative);
    };
    const auto fresh = [&](int64_t k) {
      return stack([&](int64_t frame) { return r.frame_renoise(frame, k); });
    };
    past = at::cat({past, solve_flow(s, stack(r.frame_noise), velocity, fresh)}, 1);
    first += count;
  }
  return past;
}

TEST_P(Rollout, CachedIsRecomputed) {
  for (const SamplerKind kind : {SamplerKind::kFewStep, SamplerKind::kEuler, SamplerKind::kUnipc}) {
    for (const double guidance : {1.0, 2.5}) {
      for (const bool first_alone : {false, true}) {
        ModelConfig config = tiny_causal(GetParam(), 2, 4, 1);
        config.independent_first_frame = first_alone;
        TinyNetwork net(config);
        const RolloutRequest r = request(config, first_alone ? 9 : 8);
        const SamplerSettings s = sampler(kind, guidance);
        const at::Tensor cached = video(chunks(net, r, s)), plain = recomputed(net, r, s);
        // Rounding of 1e-15 passes through some twenty network calls; guidance enlarges it.
        const double largest = plain.abs().max().item<double>();
        EXPECT_LT(max_difference(cached, plain) / largest, 1e-9)
            << "sampler " << static_cast<int>(kind) << " guidance " << guidance;
      }
    }
  }
}

TEST_P(Rollout, EmitsChunksInOrderWithAMemoryThatStops) {
  ModelConfig config = tiny_causal(GetParam(), 2, 4, 1);
  TinyNetwork net(config);
  const auto emitted = chunks(net, request(config, 10), sampler(SamplerKind::kEuler));
  std::vector<int64_t> first;
  for (const RolloutChunk& chunk : emitted) {
    first.push_back(chunk.first_frame);
    EXPECT_EQ(chunk.latents_BFCHW.size(1), 2);
    EXPECT_GT(chunk.seconds, 0.0);
    EXPECT_EQ(chunk.cache_bytes, emitted[0].cache_bytes);
  }
  EXPECT_THAT(first, ElementsAre(0, 2, 4, 6, 8));
  EXPECT_GT(emitted[0].cache_bytes, 0);
  // A video of one chunk fills no cache.
  EXPECT_EQ(chunks(net, request(config, 2), sampler(SamplerKind::kEuler))[0].cache_bytes, 0);
}

TEST_P(Rollout, ErasingTheCacheTakesTheMemory) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  RolloutRequest r = request(net.config, 6);
  const at::Tensor with = video(chunks(net, r, sampler(SamplerKind::kEuler)));
  r.erase_cache = true;
  const at::Tensor without = video(chunks(net, r, sampler(SamplerKind::kEuler)));
  EXPECT_TRUE(bit_equal(with.narrow(1, 0, 2), without.narrow(1, 0, 2)));
  EXPECT_GT(max_difference(with.narrow(1, 2, 4), without.narrow(1, 2, 4)), 1e-3);
  // Then a chunk knows nothing of the noise before it.
  const auto noise = r.frame_noise;
  r.frame_noise = [noise](int64_t frame) { return frame < 2 ? noise(frame + 50) : noise(frame); };
  const at::Tensor other = video(chunks(net, r, sampler(SamplerKind::kEuler)));
  EXPECT_FALSE(bit_equal(without.narrow(1, 0, 2), other.narrow(1, 0, 2)));
  EXPECT_TRUE(bit_equal(without.narrow(1, 2, 4), other.narrow(1, 2, 4)));
}

TEST_P(Rollout, AllFramesAtOnce) {
  TinyNetwork net(tiny_causal(GetParam(), 2, -1, 0));
  const RolloutRequest r = request(net.config, 4);
  const SamplerSettings s = sampler(SamplerKind::kUnipc, 2.0);
  const at::Tensor whole = sample_bidirectional(net.network(), r, s).latents_BFCHW;
  // One chunk of four frames is the same thing.
  TinyNetwork one_chunk(tiny_causal(GetParam(), 4, -1, 0));
  EXPECT_TRUE(bit_equal(whole, video(chunks(one_chunk, r, s))));
  EXPECT_GT(max_difference(whole, video(chunks(net, r, s))), 1e-3);
}

TEST_P(Rollout, GuidanceNeedsANegativePrompt) {
  TinyNetwork net(tiny_causal(GetParam(), 2, -1, 0));
  RolloutRequest r = request(net.config, 2);
  r.negative_text_1TE = at::Tensor();
  EXPECT_NO_THROW(chunks(net, r, sampler(SamplerKind::kEuler)));
  EXPECT_THROW(chunks(net, r, sampler(SamplerKind::kEuler, 3.0)), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(All, Rollout, testing::Values("dense", "mla"), [](const auto& test) {
  return std::string(test.param);
});

}  // namespace
}  // namespace vmla::model
