#include "model/network/kv_cache.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::UnorderedElementsAre;

constexpr int64_t kTokens = 2;

ModelConfig causal(int64_t n, int64_t window, int64_t sink) {
  return tiny_causal("mla", n, window, sink);
}

/// Keys and values that say which frame and layer they are: frame + layer / 10 everywhere.
std::vector<LayerKv> marked(int64_t first, int64_t count) {
  std::vector<LayerKv> kv;
  for (int64_t layer = 0; layer < 2; ++layer) {
    const at::Tensor frame = at::arange(first, first + count, at::kDouble)
                                 .repeat_interleave(kTokens)
                                 .view({1, count * kTokens, 1});
    const at::Tensor mark = frame + static_cast<double>(layer) / 10;
    kv.push_back({mark.expand({1, -1, 3}), mark.expand({1, -1, 2})});
  }
  return kv;
}

/// The tensors of a window must hold what its list of frames says.
void expect_marks(const KvWindow& window) {
  for (size_t layer = 0; layer < window.layers.size(); ++layer) {
    const at::Tensor expected =
        at::tensor(window.frames).to(at::kDouble).repeat_interleave(kTokens) +
        static_cast<double>(layer) / 10;
    EXPECT_TRUE(at::equal(window.layers[layer].content.select(2, 2).select(0, 0), expected));
    EXPECT_TRUE(at::equal(window.layers[layer].key.select(2, 1).select(0, 0), expected));
  }
}

TEST(KvCache, RollsAsTheReferenceCache) {
  // Frames a chunk finds in the cache (docs/algorithms.md 3.5: with its own they are {0, 4..8}, {0,
  // 7..11}).
  KvCache cache(causal(3, 6, 1), CacheKind::kStreaming, kTokens, 1000);
  const auto next = [&](int64_t first) {
    const KvWindow window = cache.window(first, 3);
    expect_marks(window);
    cache.append(marked(first, 3), first, 3);
    return window.frames;
  };
  EXPECT_THAT(next(0), UnorderedElementsAre());
  EXPECT_THAT(next(3), UnorderedElementsAre(0, 1, 2));
  EXPECT_THAT(next(6), UnorderedElementsAre(0, 4, 5));
  EXPECT_THAT(next(9), UnorderedElementsAre(0, 7, 8));
  for (int64_t first = 12; first < 60; first += 3) {
    EXPECT_THAT(next(first), UnorderedElementsAre(0, first - 2, first - 1));
  }

  KvCache larger(causal(3, 12, 3), CacheKind::kStreaming, kTokens, 1000);
  for (int64_t first = 0; first < 12; first += 3) larger.append(marked(first, 3), first, 3);
  EXPECT_THAT(larger.window(12, 3).frames, UnorderedElementsAre(0, 1, 2, 6, 7, 8, 9, 10, 11));
}

TEST(KvCache, HoldsTheAttendedContextInEveryWindow) {
  for (const auto kind : {CacheKind::kStreaming, CacheKind::kAppendOnly}) {
    for (const int64_t n : {1, 2, 3}) {
      for (const int64_t window : {-1, 3, 4, 6, 7, 10}) {
        for (int64_t sink = 0; sink <= 3; ++sink) {
          for (const bool first_alone : {false, true}) {
            if (window > 0 && window - sink < n) continue;
            ModelConfig config = causal(n, window, window < 0 ? 0 : sink);
            config.independent_first_frame = first_alone;
            const int64_t frames = 24 + (first_alone ? 1 : 0);
            KvCache cache(config, kind, kTokens, frames);
            int64_t first = 0;
            for (const int64_t count : chunk_sizes(config, frames)) {
              const KvWindow seen = cache.window(first, count);
              EXPECT_THAT(
                  seen.frames,
                  testing::UnorderedElementsAreArray(attended_context(config, first, count)));
              expect_marks(seen);
              cache.append(marked(first, count), first, count);
              first += count;
            }
            EXPECT_EQ(cache.frames_seen(), frames);
          }
        }
      }
    }
  }
}

TEST(KvCache, AppendOnlyGivesAnyChunkItsWindowAgain) {
  const ModelConfig config = causal(2, 6, 1);
  KvCache cache(config, CacheKind::kAppendOnly, kTokens, 12);
  for (int64_t first = 0; first < 12; first += 2) cache.append(marked(first, 2), first, 2);
  for (int64_t first = 0; first < 12; first += 2) {
    const KvWindow window = cache.window(first, 2);
    EXPECT_EQ(window.frames, attended_context(config, first, 2));
    expect_marks(window);
  }
  // Slots side by side are no copy: the storage shows through.
  const KvWindow window = cache.window(4, 2);
  cache.erase();
  EXPECT_EQ(window.layers[0].content.abs().max().item<double>(), 0.0);
  EXPECT_EQ(cache.window(10, 2).layers[1].key.abs().max().item<double>(), 0.0);
}

TEST(KvCache, RunningAChunkAgainOverwritesItsSlots) {
  KvCache cache(causal(2, 6, 1), CacheKind::kStreaming, kTokens, 100);
  for (const int64_t first : {0, 2, 2, 4, 4, 6}) cache.append(marked(first, 2), first, 2);
  expect_marks(cache.window(8, 2));
  EXPECT_THAT(cache.window(8, 2).frames, UnorderedElementsAre(0, 5, 6, 7));
  EXPECT_EQ(cache.frames_seen(), 8);
}

TEST(KvCache, AFlushLeavesTheSinkAndTheLastFrames) {
  KvCache cache(causal(3, 12, 3), CacheKind::kStreaming, kTokens, 1000);
  for (int64_t first = 0; first < 15; first += 3) cache.append(marked(first, 3), first, 3);
  EXPECT_THAT(cache.window(15, 3).frames, UnorderedElementsAre(0, 1, 2, 9, 10, 11, 12, 13, 14));
  cache.flush(2);
  const auto next = [&](int64_t first) {
    const KvWindow window = cache.window(first, 3);
    expect_marks(window);
    cache.append(marked(first, 3), first, 3);
    return window.frames;
  };
  EXPECT_THAT(next(15), UnorderedElementsAre(0, 1, 2, 13, 14));
  EXPECT_THAT(next(18), UnorderedElementsAre(0, 1, 2, 13, 14, 15, 16, 17));
  // The window is full again and goes on as ever.
  EXPECT_THAT(next(21), UnorderedElementsAre(0, 1, 2, 15, 16, 17, 18, 19, 20));
  EXPECT_THAT(next(24), UnorderedElementsAre(0, 1, 2, 18, 19, 20, 21, 22, 23));

  // Nothing to forget: fewer frames than are kept, or a window that holds no more.
  KvCache young(causal(1, 6, 1), CacheKind::kStreaming, kTokens, 1000);
  young.append(marked(0, 1), 0, 1);
  young.flush(2);
  EXPECT_THAT(young.window(1, 1).frames, UnorderedElementsAre(0));
  KvCache tight(causal(2, 4, 1), CacheKind::kStreaming, kTokens, 1000);
  for (int64_t first = 0; first < 8; first += 2) tight.append(marked(first, 2), first, 2);
  tight.flush(2);
  EXPECT_THAT(tight.window(8, 2).frames, UnorderedElementsAre(0, 7));
  KvCache unlimited(causal(2, -1, 1), CacheKind::kStreaming, kTokens, 20);
  for (int64_t first = 0; first < 8; first += 2) unlimited.append(marked(first, 2), first, 2);
  unlimited.flush(2);
  EXPECT_THAT(unlimited.window(8, 2).frames, UnorderedElementsAre(0, 6, 7));

  KvCache replayed(causal(2, 4, 1), CacheKind::kAppendOnly, kTokens, 4);
  EXPECT_THROW(replayed.flush(2), c10::Error);  // any chunk's window may be asked for again
}

TEST(KvCache, RefusesWhatItCannotKnow) {
  KvCache cache(causal(2, 6, 1), CacheKind::kStreaming, kTokens, 100);
  EXPECT_THROW(cache.window(2, 2), c10::Error);
  EXPECT_THROW(cache.append(marked(2, 2), 2, 2), c10::Error);
  for (int64_t first = 0; first < 10; first += 2) cache.append(marked(first, 2), first, 2);
  EXPECT_THROW(cache.window(4, 2), c10::Error);  // its context has been overwritten
  KvCache full(causal(2, -1, 0), CacheKind::kAppendOnly, kTokens, 2);
  full.append(marked(0, 2), 0, 2);
  EXPECT_THROW(full.append(marked(2, 2), 2, 2), c10::Error);
}

TEST(KvCache, Stores224ValuesATokenOfWan) {
  ModelConfig wan = model_preset("wan1.3b");
  wan.attention = "mla";
  const LayerDims d = layer_dims(wan, 0);
  EXPECT_EQ(d.kv_rank + d.rope, 224);
  KvCache cache(wan, CacheKind::kAppendOnly, /*tokens_per_frame=*/1, /*max_frames=*/3);
  EXPECT_EQ(cache.bytes(), 0);
  const std::vector<LayerKv> kv(30, {at::zeros({1, 3, 192}), at::zeros({1, 3, 32})});
  cache.append(kv, 0, 3);
  EXPECT_EQ(cache.bytes(), 3 * 30 * 224 * 4);
}

TEST(KvCache, BytesOfARealForwardAreTheArithmetic) {
  for (const char* attention : {"dense", "mla"}) {
    TinyNetwork net(tiny_causal(attention, 2, 6, 1));
    const DitInputs inputs = tiny_inputs(net.config, 2);
    const ForwardOptions fill{.keep_kv = true, .need_flow = false};
    const auto kv = dit_forward(net.network(),
                                inputs,
                                prepared(net.config, cached_plan(net.config, {}, 0, 2)),
                                {},
                                fill)
                        .kv;
    KvCache cache(net.config, CacheKind::kStreaming, kTinyTokens, 1000);
    int64_t values = 0;  // a token of all layers
    for (int64_t layer = 0; layer < net.config.num_layers; ++layer) {
      const LayerDims d = layer_dims(net.config, layer);
      values += net.config.is_mla() ? d.kv_rank + d.rope : 2 * d.dim;
    }
    // Window 6 less the own chunk of 2: four frames; fp64, batch 2. It does not grow afterwards.
    for (int64_t first = 0; first < 20; first += 2) {
      cache.append(kv, first, 2);
      EXPECT_EQ(cache.bytes(), 2 * 4 * kTinyTokens * values * 8);
    }
  }
}

TEST(KvCache, EightBitsHoldEachNumberToHalfAStep) {
  KvCache cache(causal(2, 6, 1), CacheKind::kStreaming, kTokens, 1000, KvCacheDtype::kInt8);
  // Rows of very different sizes, and one of zeros.
  const at::Tensor sizes = at::tensor({1.0, 1e-6, 30.0, 0.0}).view({1, 4, 1});
  const at::Tensor content = draw("content", {1, 4, 40}) * sizes, key = draw("key", {1, 4, 6});
  cache.append({{content, key}}, 0, 2);
  EXPECT_EQ(cache.bytes(), 4 * kTokens * (40 + 2 + 6 * 8));
  const LayerKv kept = cache.window(2, 2).layers[0];
  EXPECT_EQ(kept.content.scalar_type(), at::kChar);
  EXPECT_TRUE(bit_equal(kept.key, key));
  const at::Tensor step = kept.scale.to(at::kDouble);
  // The quotient is formed in fp32, to 1e-7 of at most 127 steps.
  const at::Tensor error = (kept.content.to(at::kDouble) * step - content).abs();
  EXPECT_TRUE((error <= (0.5 + 2e-5) * step).all().item<bool>());
  EXPECT_EQ(error.select(1, 3).max().item<double>(), 0.0);
  // A step is a 127th of the row's largest number, to the 8 bits of bf16.
  const at::Tensor wanted = content.abs().amax(-1, true) / 127;
  EXPECT_TRUE(((step - wanted).abs() <= wanted / 256 + 1e-29).all().item<bool>());
}

TEST(KvCache, LatentsInEightBitsAreReadAsTheNumbersTheyStandFor) {
  TinyNetwork net(tiny_causal("mla", 2, 6, 1));
  const DitInputs inputs = tiny_inputs(net.config, 2);
  const auto kv = dit_forward(net.network(),
                              inputs,
                              prepared(net.config, cached_plan(net.config, {}, 0, 2)),
                              {},
                              {.keep_kv = true, .need_flow = false})
                      .kv;
  KvCache cache(net.config, CacheKind::kStreaming, kTinyTokens, 1000, KvCacheDtype::kInt8);
  cache.append(kv, 0, 2);
  const KvWindow window = cache.window(2, 2);
  std::vector<LayerKv> plain;
  for (const LayerKv& layer : window.layers)
    plain.push_back({layer.content.to(at::kDouble) * layer.scale.to(at::kDouble), layer.key});
  const PreparedPlan plan = prepared(net.config, cached_plan(net.config, window.frames, 2, 2));
  for (const LatentForm form : {LatentForm::kExpanded, LatentForm::kAbsorbed}) {
    const auto flow = [&](const std::vector<LayerKv>& layers) {
      return dit_forward(net.network(), inputs, plan, layers, {.form = form}).flow_BFCHW;
    };
    EXPECT_TRUE(bit_equal(flow(window.layers), flow(plain)));
  }
}

TEST(KvCache, EightBitsAreForLatents) {
  EXPECT_THROW(
      KvCache(
          tiny_causal("dense", 2, 6, 1), CacheKind::kStreaming, kTokens, 1000, KvCacheDtype::kInt8),
      c10::Error);
}

TEST(KvCache, AFillNeedsNoFlow) {
  for (const char* attention : {"dense", "mla"}) {
    TinyNetwork net(tiny_causal(attention, 2, 6, 1));
    const DitInputs inputs = tiny_inputs(net.config, 2);
    const PreparedPlan plan = prepared(net.config, cached_plan(net.config, {}, 0, 2));
    const auto whole = dit_forward(net.network(), inputs, plan, {}, {.keep_kv = true});
    const auto fill =
        dit_forward(net.network(), inputs, plan, {}, {.keep_kv = true, .need_flow = false});
    EXPECT_FALSE(fill.flow_BFCHW.defined());
    for (size_t layer = 0; layer < 2; ++layer) {
      EXPECT_TRUE(bit_equal(whole.kv[layer].content, fill.kv[layer].content));
      EXPECT_TRUE(bit_equal(whole.kv[layer].key, fill.kv[layer].key));
    }
  }
}

}  // namespace
}  // namespace vmla::model
