#include "model/sampling/rollout.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "tests/model/tiny_rollout.h"

namespace vmla::model {
namespace {

using testing::ElementsAre;

class Rollout : public testing::TestWithParam<const char*> {};

TEST_P(Rollout, LongVideosBeginAsShortOnes) {
  for (const SamplerKind kind : {SamplerKind::kFewStep, SamplerKind::kEuler, SamplerKind::kUnipc}) {
    for (const auto& [window, sink] : {std::pair{-1, 0}, {4, 1}, {6, 0}}) {
      TinyNetwork net(tiny_causal(GetParam(), 2, window, sink));
      const at::Tensor longer =
          sampled_video(net.network(), tiny_rollout(net.config, 10), tiny_sampler(kind));
      for (const int64_t frames : {2, 6, 8}) {
        const at::Tensor shorter =
            sampled_video(net.network(), tiny_rollout(net.config, frames), tiny_sampler(kind));
        EXPECT_TRUE(bit_equal(longer.narrow(1, 0, frames), shorter)) << frames;
      }
    }
  }
}

TEST_P(Rollout, CachedIsRecomputed) {
  for (const SamplerKind kind : {SamplerKind::kFewStep, SamplerKind::kEuler, SamplerKind::kUnipc}) {
    for (const double guidance : {1.0, 2.5}) {
      for (const bool first_alone : {false, true}) {
        ModelConfig config = tiny_causal(GetParam(), 2, 4, 1);
        config.independent_first_frame = first_alone;
        TinyNetwork net(config);
        const RolloutRequest r = tiny_rollout(config, first_alone ? 9 : 8);
        const SamplerSettings s = tiny_sampler(kind, guidance);
        const at::Tensor cached = sampled_video(net.network(), r, s);
        const at::Tensor plain = continued_without_cache(net.network(), r, s, no_past(config));
        EXPECT_LT(relative_difference(cached, plain), kRolloutTolerance)
            << "sampler " << static_cast<int>(kind) << " guidance " << guidance;
      }
    }
  }
}

TEST_P(Rollout, VideosInSuccessionAreThoseByThemselves) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  const SamplerSettings settings = tiny_sampler(SamplerKind::kFewStep, 2.5);
  const RolloutRequest usual = tiny_rollout(net.config, 12);
  RolloutRequest other = usual, shorter = usual, pair = usual, stopped = usual;
  other.text_BTE = draw("another prompt", usual.text_BTE.sizes());
  other.frame_noise = [&](int64_t frame) { return usual.frame_noise(frame + 100); };
  other.prompt_changes = {{6, draw("a third", usual.text_BTE.sizes())}};  // flushes the cache
  shorter.num_frames = 4;
  pair.text_BTE = at::cat({usual.text_BTE, other.text_BTE});
  pair.frame_noise = [&](int64_t frame) { return usual.frame_noise(frame).repeat({2, 1, 1, 1}); };
  pair.frame_renoise = [&](int64_t frame, int64_t k) {
    return usual.frame_renoise(frame, k).repeat({2, 1, 1, 1});
  };
  int64_t passes = 0;
  stopped.before_pass = [&] {
    if (++passes == 6) throw UserError("stop");
  };
  CausalSampler sampler(net.network(), settings);
  EXPECT_THROW(sampler.sample(stopped, [](const RolloutChunk&) {}), UserError);
  for (const RolloutRequest& request : {usual, other, usual, shorter, pair, other}) {
    std::vector<at::Tensor> chunks;
    sampler.sample(request, [&](const RolloutChunk& chunk) {
      EXPECT_EQ(chunk.cache_bytes == 0, chunk.first_frame == 0);
      chunks.push_back(chunk.latents_BFCHW);
    });
    EXPECT_TRUE(bit_equal(at::cat(chunks, 1), sampled_video(net.network(), request, settings)));
  }
}

TEST_P(Rollout, EmitsChunksInOrderWithAMemoryThatStops) {
  ModelConfig config = tiny_causal(GetParam(), 2, 4, 1);
  TinyNetwork net(config);
  const SamplerSettings s = tiny_sampler(SamplerKind::kEuler);
  const auto emitted = sampled_chunks(net.network(), tiny_rollout(config, 10), s);
  std::vector<int64_t> first, bytes;
  for (const RolloutChunk& chunk : emitted) {
    first.push_back(chunk.first_frame);
    bytes.push_back(chunk.cache_bytes);
    EXPECT_EQ(chunk.latents_BFCHW.size(1), 2);
    EXPECT_GT(chunk.denoising.seconds(), 0.0);
  }
  EXPECT_THAT(first, ElementsAre(0, 2, 4, 6, 8));
  // The first chunk is handed out before anything is cached: its viewer does not wait for the fill.
  EXPECT_EQ(bytes[0], 0);
  EXPECT_GT(bytes[1], 0);
  EXPECT_THAT(bytes, ElementsAre(0, bytes[1], bytes[1], bytes[1], bytes[1]));
  EXPECT_GT(emitted[1].caching.seconds(), 0.0);
}

/// Counts the passes through the network: each asks for the first block's weights once, and once
/// more for the keys and values of a new text.
struct CountingWeights : WeightSource {
  explicit CountingWeights(WeightSource& s) : source(s) {}
  std::vector<at::Tensor> acquire(int64_t unit) override {
    passes += unit == 0 ? 1 : 0;
    heads += unit == kRootUnit ? 1 : 0;
    return source.acquire(unit);
  }
  void release(int64_t unit) override { source.release(unit); }
  void add_gradients(int64_t, const std::vector<at::Tensor>&) override {}
  WeightSource& source;
  int64_t passes = 0, heads = 0;
};

TEST_P(Rollout, CostsOnePassAStepAndOneFillAChunk) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 4, 1));
  const RolloutRequest r = tiny_rollout(net.config, 6);  // three chunks
  const auto bytes = [&](SamplerKind kind, double guidance, int64_t passes, const auto& change) {
    CountingWeights counted(net.weights);
    SamplerSettings s = tiny_sampler(kind, guidance);
    change(s);
    const auto emitted = sampled_chunks({net.config, counted}, r, s);
    EXPECT_EQ(counted.passes - 1, passes);
    // Every pass but the two fills asks for the root twice: embeddings, then head.
    EXPECT_EQ(counted.heads, 2 * passes - 2);
    return emitted.back().cache_bytes;
  };
  const auto as_is = [](SamplerSettings&) {};
  const int64_t alone = bytes(SamplerKind::kFewStep, 1.0, 3 * 4 + 2, as_is);
  EXPECT_EQ(bytes(SamplerKind::kEuler, 1.0, 3 * 4 + 2, as_is), alone);
  // With guidance no pass more, but each of twice the batch.
  EXPECT_EQ(bytes(SamplerKind::kUnipc, 2.0, 3 * 4 + 2, as_is), 2 * alone);
  bytes(SamplerKind::kFewStep, 1.0, 4 + 1 + 1 + 2, [](SamplerSettings& s) {
    s.denoising_step_list = {1000};
    s.first_chunk_denoising_step_list = {1000, 750, 500, 250};
  });
}

TEST_P(Rollout, TheFirstChunkHasAScheduleOfItsOwn) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  const RolloutRequest r = tiny_rollout(net.config, 6);
  SamplerSettings two = tiny_sampler(SamplerKind::kFewStep), four = two, mixed = two;
  two.denoising_step_list = mixed.denoising_step_list = {1000, 500};
  mixed.first_chunk_denoising_step_list = four.denoising_step_list;
  const at::Tensor video = sampled_video(net.network(), r, mixed);
  const at::Tensor first = sampled_video(net.network(), r, four).narrow(1, 0, 2);
  EXPECT_TRUE(bit_equal(video.narrow(1, 0, 2), first));
  const at::Tensor rest = continued_without_cache(net.network(), r, two, first);
  EXPECT_LT(relative_difference(video, rest), kRolloutTolerance);
  // Without a list of its own it follows the others.
  EXPECT_EQ(first_chunk_settings(two).denoising_step_list, two.denoising_step_list);
}

TEST_P(Rollout, FillsTheCacheAtItsContextNoise) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  const RolloutRequest r = tiny_rollout(net.config, 4);
  SamplerSettings s = tiny_sampler(SamplerKind::kFewStep);
  const at::Tensor clean = sampled_video(net.network(), r, s);
  s.context_noise = 200.0;
  const at::Tensor other = sampled_video(net.network(), r, s);
  EXPECT_TRUE(bit_equal(clean.narrow(1, 0, 2), other.narrow(1, 0, 2)));
  EXPECT_GT(relative_difference(clean.narrow(1, 2, 2), other.narrow(1, 2, 2)), 1e-6);
}

std::string length_error(const ModelConfig& config, int64_t frames) {
  try {
    check_rollout_length(config, frames);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(RolloutLength, EndsWhereThePositionsDo) {
  const ModelConfig unlimited = tiny_causal("mla", 1, -1, 0);
  EXPECT_EQ(length_error(unlimited, 1024), "");
  const std::string message = length_error(unlimited, 1025);
  EXPECT_THAT(message, testing::HasSubstr("1025 latent frames"));
  EXPECT_THAT(message, testing::HasSubstr("--local-attn-size"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  // Positions are ranks in the window, so with one a video may be of any length.
  EXPECT_EQ(length_error(tiny_causal("mla", 1, 1024, 0), 1'000'000), "");
  EXPECT_EQ(length_error(tiny_causal("mla", 1, 2000, 0), 1024), "");
  EXPECT_NE(length_error(tiny_causal("mla", 1, 2000, 0), 1025), "");
  // Sampling checks before it computes anything.
  TinyNetwork net(unlimited);
  CountingWeights counted(net.weights);
  EXPECT_THROW(sampled_chunks({net.config, counted},
                              tiny_rollout(net.config, 1025),
                              tiny_sampler(SamplerKind::kFewStep)),
               UserError);
  EXPECT_EQ(counted.passes, 0);
}

// As of a large model, whose windows are too large to keep.
TEST(RolloutWindows, ThatAreRebuiltInEveryPassGiveTheSameVideo) {
  TinyNetwork net(tiny_causal("mla", 2, 6, 1));
  const RolloutRequest r = tiny_rollout(net.config, 10);
  SamplerSettings s = tiny_sampler(SamplerKind::kUnipc, 2.0);
  const at::Tensor kept = sampled_video(net.network(), r, s);
  s.kept_window_bytes = 0;
  const at::Tensor rebuilt = sampled_video(net.network(), r, s);
  EXPECT_LT(relative_difference(kept, rebuilt), kRolloutTolerance);
}

TEST(RolloutWindows, AreKeptWhereTheyFit) {
  ModelConfig config = tiny_causal("mla", 2, 6, 1);
  const LayerDims d = layer_dims(config, 0);
  const int64_t bytes = 36 * config.num_layers * d.num_heads * (d.nope + d.rope + d.v_head) * 4;
  EXPECT_TRUE(windows_fit(config, 36, bytes));
  EXPECT_FALSE(windows_fit(config, 36, bytes - 1));
  EXPECT_FALSE(windows_fit(tiny_causal("dense", 2, 6, 1), 36, bytes)) << "dense caches keep them";
}

TEST(RolloutForm, IsPickedForEachLayer) {
  // Absorbed attention costs less at the small rank, expanded at the large one.
  ModelConfig config = tiny_causal("mla", 2, 60, 0);
  config.kv_lora_rank = {{1, 200}};
  TinyNetwork net(config);
  const int64_t queries = 2 * kTinyTokens, keys = 60 * kTinyTokens;
  ASSERT_EQ(cheaper_form(layer_dims(config, 0), queries, keys, keys), LatentForm::kAbsorbed);
  ASSERT_EQ(cheaper_form(layer_dims(config, 1), queries, keys, keys), LatentForm::kExpanded);
  std::vector<int64_t> frames;
  for (int64_t f = 0; f < 58; ++f) frames.push_back(f);
  const PreparedPlan plan = prepared(config, cached_plan(config, frames, 58, 2));
  std::vector<LayerKv> window;
  for (int64_t layer = 0; layer < 2; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    const int64_t rows = 58 * kTinyTokens;
    window.push_back({draw("content", {2, rows, d.kv_rank}), draw("key", {2, rows, d.rope})});
  }
  const auto flow = [&](LatentForm form) {
    return dit_forward(net.network(), tiny_inputs(config, 2), plan, window, {.form = form})
        .flow_BFCHW;
  };
  const at::Tensor each = flow(LatentForm::kCheaper);
  EXPECT_LT(relative_difference(each, flow(LatentForm::kExpanded)), kRolloutTolerance);
  // The two forms round differently, so equal bits tell which was taken.
  EXPECT_FALSE(bit_equal(each, flow(LatentForm::kExpanded)));
  EXPECT_FALSE(bit_equal(each, flow(LatentForm::kAbsorbed)));
}

TEST_P(Rollout, ErasingTheCacheTakesTheMemory) {
  TinyNetwork net(tiny_causal(GetParam(), 2, 6, 1));
  RolloutRequest r = tiny_rollout(net.config, 6);
  const at::Tensor with = sampled_video(net.network(), r, tiny_sampler(SamplerKind::kEuler));
  r.erase_cache = true;
  const at::Tensor without = sampled_video(net.network(), r, tiny_sampler(SamplerKind::kEuler));
  EXPECT_TRUE(bit_equal(with.narrow(1, 0, 2), without.narrow(1, 0, 2)));
  EXPECT_GT(max_difference(with.narrow(1, 2, 4), without.narrow(1, 2, 4)), 1e-3);
  // Then a chunk knows nothing of the noise before it.
  const auto noise = r.frame_noise;
  r.frame_noise = [noise](int64_t frame) { return frame < 2 ? noise(frame + 50) : noise(frame); };
  const at::Tensor other = sampled_video(net.network(), r, tiny_sampler(SamplerKind::kEuler));
  EXPECT_FALSE(bit_equal(without.narrow(1, 0, 2), other.narrow(1, 0, 2)));
  EXPECT_TRUE(bit_equal(without.narrow(1, 2, 4), other.narrow(1, 2, 4)));
}

TEST_P(Rollout, AllFramesAtOnce) {
  TinyNetwork net(tiny_causal(GetParam(), 2, -1, 0));
  const RolloutRequest r = tiny_rollout(net.config, 4);
  const SamplerSettings s = tiny_sampler(SamplerKind::kUnipc, 2.0);
  const at::Tensor whole = sample_bidirectional(net.network(), r, s).latents_BFCHW;
  // One chunk of four frames is the same thing.
  TinyNetwork one_chunk(tiny_causal(GetParam(), 4, -1, 0));
  EXPECT_TRUE(bit_equal(whole, sampled_video(one_chunk.network(), r, s)));
  EXPECT_GT(max_difference(whole, sampled_video(net.network(), r, s)), 1e-3);
}

TEST_P(Rollout, GuidanceNeedsANegativePrompt) {
  TinyNetwork net(tiny_causal(GetParam(), 2, -1, 0));
  RolloutRequest r = tiny_rollout(net.config, 2);
  r.negative_text_1TE = at::Tensor();
  EXPECT_NO_THROW(sampled_chunks(net.network(), r, tiny_sampler(SamplerKind::kEuler)));
  EXPECT_THROW(sampled_chunks(net.network(), r, tiny_sampler(SamplerKind::kEuler, 3.0)),
               c10::Error);
}

INSTANTIATE_TEST_SUITE_P(All, Rollout, testing::Values("dense", "mla"), [](const auto& test) {
  return std::string(test.param);
});

}  // namespace
}  // namespace vmla::model
