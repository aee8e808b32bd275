// What passes keep for the next ones: embeddings of timesteps over a video, rebuilt windows over a
// chunk.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "model/network/wan_dit.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

constexpr double kTolerance = 1e-10;  // fp64; sums of a few hundred products in another order

/// A chunk of two frames behind a window of four, with what its passes share.
struct ChunkOfPasses {
  explicit ChunkOfPasses(const std::string& attention, int64_t kv_lora_rank = 0)
      : net([&] {
          ModelConfig config = tiny_causal(attention, 2, 6, 1);
          if (kv_lora_rank > 0) config.kv_lora_rank = {{kv_lora_rank, kv_lora_rank}};
          return config;
        }()),
        plan(prepared(net.config, cached_plan(net.config, {0, 3, 4, 5}, 6, 2))) {
    for (int64_t layer = 0; layer < net.config.num_layers; ++layer) {
      const LayerDims d = layer_dims(net.config, layer);
      const bool mla = net.config.is_mla();
      const std::string name = std::to_string(layer);
      window.push_back({draw("content" + name, {2, 4 * kTinyTokens, mla ? d.kv_rank : d.dim}),
                        draw("key" + name, {2, 4 * kTinyTokens, mla ? d.rope : d.dim})});
    }
  }

  DitInputs inputs(double timestep) const {
    DitInputs in = tiny_inputs(net.config, 2);
    in.latents_BFCHW = draw(std::to_string(timestep), in.latents_BFCHW.sizes());
    in.timesteps_BF = same_time(in.latents_BFCHW, timestep);
    return in;
  }
  DitOutputs pass(double timestep, const ForwardOptions& options) {
    return dit_forward(net.network(), inputs(timestep), plan, window, options);
  }

  TinyNetwork net;
  PreparedPlan plan;
  std::vector<LayerKv> window;
};

class KeptPasses : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Attention, KeptPasses, testing::Values("dense", "mla"));

TEST_P(KeptPasses, EqualPassesThatShareNothing) {
  ChunkOfPasses chunk(GetParam());
  PassCache video;
  ChunkCache windows;
  // The second round finds everything kept.
  for (int round = 0; round < 2; ++round) {
    for (const double timestep : {1000.0, 750.0, 0.0}) {
      const ForwardOptions kept{.keep_kv = true, .pass_cache = &video, .chunk_cache = &windows};
      const DitOutputs with = chunk.pass(timestep, kept);
      const DitOutputs without = chunk.pass(timestep, {.keep_kv = true});
      EXPECT_LT(max_difference(with.flow_BFCHW, without.flow_BFCHW), kTolerance) << timestep;
      for (size_t layer = 0; layer < without.kv.size(); ++layer) {
        EXPECT_LT(max_difference(with.kv[layer].content, without.kv[layer].content), kTolerance);
        EXPECT_LT(max_difference(with.kv[layer].key, without.kv[layer].key), kTolerance);
      }
    }
  }
}

// Not every processor shows it: a library may sum a wider product in the same order.
TEST_P(KeptPasses, AreThoseWithoutToTheBitWhereTheyMustBe) {
  ChunkOfPasses chunk(GetParam());
  PassCache kept{.exact = true};
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(bit_equal(chunk.pass(750, {.pass_cache = &kept}).flow_BFCHW,
                          chunk.pass(750, {}).flow_BFCHW));
  }
  for (const DerivedWeights& layer : kept.derived) EXPECT_FALSE(layer.down.defined());
}

TEST(KeptWindows, AreReadInsteadOfTheCache) {
  ChunkOfPasses chunk("mla");
  ChunkCache windows;
  const at::Tensor first = chunk.pass(750, {.chunk_cache = &windows}).flow_BFCHW;
  const at::Tensor later = chunk.pass(500, {.chunk_cache = &windows}).flow_BFCHW;
  for (LayerKv& layer : chunk.window) {
    layer.content.fill_(std::numeric_limits<double>::quiet_NaN());
    layer.key.fill_(std::numeric_limits<double>::quiet_NaN());
  }
  EXPECT_TRUE(bit_equal(chunk.pass(500, {.chunk_cache = &windows}).flow_BFCHW, later));
  // The next chunk's are made anew.
  ChunkCache next;
  EXPECT_TRUE(chunk.pass(500, {.chunk_cache = &next}).flow_BFCHW.isnan().all().item<bool>());
  EXPECT_FALSE(bit_equal(first, later));
}

// Absorbing must save more than the copies between its products by head cost, but only where the
// window need not be rebuilt.
TEST(KeptWindows, MakeTheExpandedFormCheaper) {
  const LayerDims d{.dim = 64,
                    .ffn_dim = 128,
                    .num_heads = 2,
                    .head_dim = 32,
                    .kv_rank = 24,
                    .q_rank = 48,
                    .nope = 20,
                    .rope = 12,
                    .v_head = 32,
                    .bias = false};
  // configs/tiny: 60 multiply-adds a pair of tokens absorbed, 64 expanded.
  EXPECT_EQ(cheaper_form(d, 48, 112, 112), LatentForm::kAbsorbed);
  EXPECT_EQ(cheaper_form(d, 48, 112, 48), LatentForm::kExpanded);
}

TEST(KeptWindows, AreThoseOfOneChunk) {
  ChunkOfPasses chunk("mla");
  ChunkCache windows;
  chunk.pass(500, {.chunk_cache = &windows});
  // Another window needs another cache.
  chunk.plan = prepared(chunk.net.config, cached_plan(chunk.net.config, {0, 4, 5}, 6, 2));
  for (LayerKv& layer : chunk.window) {
    layer.content = layer.content.narrow(1, 0, 3 * kTinyTokens);
    layer.key = layer.key.narrow(1, 0, 3 * kTinyTokens);
  }
  EXPECT_THROW(chunk.pass(500, {.chunk_cache = &windows}), c10::Error);
}

// Where absorbing is cheaper by far, nothing is rebuilt that could be kept.
TEST(KeptWindows, AreForTheExpandedForm) {
  ChunkOfPasses chunk("mla", 1);
  ChunkCache windows;
  const ForwardOptions options{.chunk_cache = &windows, .form = LatentForm::kCheaper};
  for (int64_t layer = 0; layer < chunk.net.config.num_layers; ++layer) {
    ASSERT_EQ(
        cheaper_form(
            layer_dims(chunk.net.config, layer), 2 * kTinyTokens, 6 * kTinyTokens, 2 * kTinyTokens),
        LatentForm::kAbsorbed);
  }
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_LT(max_difference(chunk.pass(500, options).flow_BFCHW, chunk.pass(500, {}).flow_BFCHW),
              kTolerance);
    for (const KeptWindow& kept : windows.layers) EXPECT_FALSE(kept.expanded_BMQ.defined());
  }
}

TEST(KeptWindows, AreNotForTraining) {
  ChunkOfPasses chunk("mla");
  ChunkCache windows;
  EXPECT_THROW(chunk.pass(500, {.grad = GradMode::kInput, .chunk_cache = &windows}), c10::Error);
}

TEST(KeptTimes, AreFoundByTheirValues) {
  KeptTimes times;
  const auto embedding = [](double value) {
    return TimeEmbedding{at::full({1, 2, 4}, value), at::full({1, 2, 6, 4}, value)};
  };
  const at::Tensor noisy = at::tensor({750.0, 750.0}, at::kDouble).view({1, 2});
  const at::Tensor mixed = at::tensor({0.0, 750.0}, at::kDouble).view({1, 2});
  ASSERT_EQ(times.find(noisy), nullptr);
  times.keep(noisy, embedding(1), 3);
  times.keep(mixed, embedding(2), 3);
  ASSERT_NE(times.find(noisy.clone()), nullptr);
  EXPECT_EQ(times.find(noisy.clone())->embedding.time_BFD[0][0][0].item<double>(), 1);
  EXPECT_EQ(times.find(mixed)->embedding.time_BFD[0][0][0].item<double>(), 2);
  EXPECT_EQ(times.find(mixed)->modulation_of_layer.size(), 3U);
  EXPECT_EQ(times.find(mixed.narrow(1, 0, 1)), nullptr);
  // To compare those of a device would make the host wait for it.
  EXPECT_EQ(times.find(at::empty({1, 2}, at::device(at::kMeta).dtype(at::kDouble))), nullptr);
}

TEST(KeptTimes, TakeBoundedMemory) {
  KeptTimes times;
  const auto timesteps = [](double t) { return at::full({1, 1}, t, at::kDouble); };
  const auto keep = [&](double t, int64_t width) {  // 31 numbers of 4 bytes for each of width
    return times.keep(timesteps(t), {at::empty({1, 1, width}), at::empty({1, 1, 6, width})}, 4);
  };
  EXPECT_EQ(keep(1000, int64_t{1} << 17), nullptr);  // 15.5 MiB: of a clip, say
  int kept = 0;
  for (int t = 0; t < 20; ++t) kept += keep(t, int64_t{1} << 16) != nullptr ? 1 : 0;
  EXPECT_EQ(kept, 8);  // of 7.75 MiB each, in 64
  // In turn again: those that are there are found.
  int found = 0;
  for (int t = 0; t < 20; ++t) found += times.find(timesteps(t)) != nullptr ? 1 : 0;
  EXPECT_EQ(found, kept);
  EXPECT_NE(times.find(timesteps(0)), nullptr);
  EXPECT_NE(keep(500, 1 << 10), nullptr);  // a small one still fits
}

}  // namespace
}  // namespace vmla::model
