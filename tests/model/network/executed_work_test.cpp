#include "model/network/executed_work.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <ostream>

#include "kernels/attention/attention.h"
#include "kernels/gelu/gelu.h"
#include "model/network/flops.h"
#include "tests/model/rebuilding_flops.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

struct Mask {
  const char* name;
  AttentionPlan (*plan)(const ModelConfig& config);
};
void PrintTo(const Mask& mask, std::ostream* out) {
  *out << mask.name;
}

class ExecutedWorkOfAForward
    : public testing::TestWithParam<std::tuple<const char*, at::ScalarType, Mask>> {};

/// forward_flops is arithmetic over sizes; what runs is what the dispatcher sees. Both are whole
/// numbers below 2^53, so that they must be equal.
TEST_P(ExecutedWorkOfAForward, AreThoseOfThePlan) {
  const auto& [attention, dtype, mask] = GetParam();
  const ModelConfig config = tiny_causal(attention, 2, 4, 1);
  const AttentionPlan plan = mask.plan(config);
  TinyNetwork net(config, dtype);
  DitInputs inputs = tiny_inputs(config, plan.sequence_frames());
  inputs.text_BTE = draw("text", {2, config.text_len, config.text_dim});
  if (dtype == at::kFloat) inputs = to_float(inputs);
  std::vector<LayerKv> window;
  for (int64_t layer = 0; plan.window_frames > 0 && layer < config.num_layers; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    const int64_t rows = plan.window_frames * kTinyTokens;
    window.push_back({draw("content", {2, rows, config.is_mla() ? d.kv_rank : d.dim}).to(dtype),
                      draw("key", {2, rows, config.is_mla() ? d.rope : d.dim}).to(dtype)});
  }
  const PreparedPlan ready = prepared(config, plan, dtype);
  const ForwardFlops wanted = forward_flops(config, plan, kTinyTokens);

  ExecutedWork executed;
  dit_forward(net.network(), inputs, ready, window, {});
  const ExecutedWork::Count count = executed.take();
  const double text_kv =
      2.0 * 2.0 *
      static_cast<double>(config.num_layers * config.text_len * config.dim * config.dim);
  const double samples = 2;
  EXPECT_EQ(count.products,
            samples * (wanted.linear + text_kv + rebuilding_flops(config, plan, kTinyTokens)));
  EXPECT_EQ(count.attention, samples * (wanted.attention + wanted.cross - text_kv));
  EXPECT_EQ(executed.count().flops(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    ExecutedWorkOfAForward,
    testing::Combine(
        testing::Values("dense", "mla"),
        testing::Values(at::kFloat, at::kDouble),
        testing::Values(
            Mask{"bidirectional", [](const ModelConfig&) { return bidirectional_plan(3); }},
            Mask{"chunk-causal", [](const ModelConfig& c) { return chunk_causal_plan(c, 8); }},
            Mask{"teacher-forcing",
                 [](const ModelConfig& c) { return teacher_forcing_plan(c, 8); }},
            Mask{"cached, first chunk",
                 [](const ModelConfig& c) { return cached_plan(c, {}, 0, 2); }},
            Mask{"cached, window",
                 [](const ModelConfig& c) { return cached_plan(c, {3, 0}, 4, 2); }})));

TEST(ExecutedWork, ABackwardOfAttentionCountsAsTwoForwards) {
  const auto q = draw("q", {1, 5, 2, 4}).to(at::kFloat).requires_grad_();
  const auto k = draw("k", {1, 7, 2, 4}).to(at::kFloat);
  const auto v = draw("v", {1, 7, 2, 3}).to(at::kFloat);
  ExecutedWork executed;
  const auto out = kernels::segmented_attention(q, k, v, {{0, 5, 0, 0, 7}}, 0.5).out_BLNV;
  EXPECT_EQ(executed.take().attention, 2.0 * 5 * 7 * 2 * (4 + 3));
  out.sum().backward();
  const ExecutedWork::Count backward = executed.take();
  EXPECT_EQ(backward.attention, 4.0 * 5 * 7 * 2 * (4 + 3));
  EXPECT_EQ(backward.products, 0);
}

TEST(ExecutedWork, CountsTheProductsOfItsOwnTimeAlone) {
  const at::Tensor a = at::ones({3, 4}), b = at::ones({4, 5});
  at::mm(a, b);
  {
    ExecutedWork executed;
    at::linear(a, b.t(), at::ones({5}));
    at::bmm(a.unsqueeze(0), b.unsqueeze(0));
    EXPECT_EQ(executed.count().products, 2 * 2.0 * 3 * 4 * 5);
    EXPECT_THROW(ExecutedWork second, c10::Error);
  }
  ExecutedWork executed;
  EXPECT_EQ(executed.count().flops(), 0);
}

/// A network on a device, and what a pass over two chunks needs there.
struct Pass {
  Pass(const char* attention, int64_t layers, at::Device device, at::ScalarType dtype)
      : config([&] {
          ModelConfig c = tiny_causal(attention, 2, 6, 1);
          c.num_layers = layers;
          // Heads of keys and values as wide as each other, as Wan's are: libraries pad others.
          c.qk_nope_head_dim = c.v_head_dim - c.qk_rope_head_dim;
          return c;
        }()),
        weights(config, drawn_weights(config), "drawn", device, dtype),
        plan(prepare_plan(config,
                          cached_plan(config, {0, 3, 4, 5}, 6, 2),
                          {kTinyHeight / 2, kTinyWidth / 2},
                          at::TensorOptions(device).dtype(at::kFloat))),
        inputs(to_float(tiny_inputs(config, 2))) {
    inputs.latents_BFCHW = inputs.latents_BFCHW.to(device);
    inputs.text_BTE = inputs.text_BTE.to(device);
    for (int64_t layer = 0; layer < layers; ++layer) {
      const LayerDims d = layer_dims(config, layer);
      const int64_t rows = 4 * kTinyTokens;
      const auto part = [&](int64_t width) {
        return draw("window", {2, rows, width}).to(at::TensorOptions(device).dtype(dtype));
      };
      window.push_back(
          {part(config.is_mla() ? d.kv_rank : d.dim), part(config.is_mla() ? d.rope : d.dim)});
    }
  }
  void forward(const ForwardOptions& options) {
    dit_forward({config, weights}, inputs, plan, window, options);
  }

  ModelConfig config;
  FrozenWeights weights;
  PreparedPlan plan;
  DitInputs inputs;
  std::vector<LayerKv> window;
};

class KernelsOfAPass : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Attention, KernelsOfAPass, testing::Values("dense", "mla"));

/// A plan runs over tensors without data. What it counts is what a pass over real ones starts.
TEST_P(KernelsOfAPass, AreTheSameWithoutData) {
  Pass real(GetParam(), 2, at::kCPU, at::kFloat), planned(GetParam(), 2, at::kMeta, at::kFloat);
  // A plan's timesteps come from the host, where a real pass on the CPU has them already.
  planned.inputs.timesteps_BF = planned.inputs.timesteps_BF.to(at::kMeta);
  const auto counted = [](Pass& pass, at::DeviceType device) {
    ExecutedWork executed(device);
    pass.forward({});
    return executed.take();
  };
  const ExecutedWork::Count of_real = counted(real, at::kCPU);
  const ExecutedWork::Count of_planned = counted(planned, at::kMeta);
  EXPECT_GT(of_real.kernels, 40);
  EXPECT_EQ(of_planned.kernels, of_real.kernels);
  EXPECT_EQ(of_planned.flops(), of_real.flops());
  // Copies and workspaces of the CPU's code are a few hundredths.
  EXPECT_NEAR(of_planned.bytes / of_real.bytes, 1.0, 0.05);
}

/// Of a layer in bf16 on a GPU, once timesteps, weights and window are kept. The stand-in counts as
/// many (tests/standin/launches.json), and besides, once in five passes, what puts a chunk into the
/// cache.
TEST_P(KernelsOfAPass, AreAsManyAsAGpuStarts) {
  const auto kernels = [&](int64_t layers) {
    Pass pass(GetParam(), layers, at::kMeta, at::kBFloat16);
    PassCache video;
    ChunkCache chunk;
    pass.forward({.pass_cache = &video, .chunk_cache = &chunk});
    ExecutedWork executed(at::kMeta);
    pass.forward({.pass_cache = &video, .chunk_cache = &chunk});
    return executed.take().kernels;
  };
  // Products 6, norms and residuals 4, RoPE 2, GELU, norms of queries and keys 2, concatenations 2,
  // attention 2. Latent: products 8, RoPE 1, no concatenation, but a copy of two samples' own rows.
  EXPECT_EQ(kernels(2) - kernels(1), 19);
}

/// The same of a step: forward, and backward to all weights.
TEST_P(KernelsOfAPass, OfABackwardAreTheSameWithoutData) {
  const auto counted = [](at::Device device) {
    Pass pass(GetParam(), 2, device, at::kFloat);
    TrainedWeights weights(pass.config, drawn_weights(pass.config), "drawn", device);
    pass.inputs.timesteps_BF = pass.inputs.timesteps_BF.to(device);
    const at::Tensor flow =
        dit_forward(
            {pass.config, weights}, pass.inputs, pass.plan, pass.window, {.grad = GradMode::kFull})
            .flow_BFCHW;
    ExecutedWork executed(device.type());
    flow.backward(at::ones_like(flow));
    return executed.take();
  };
  const ExecutedWork::Count of_real = counted(at::kCPU), of_planned = counted(at::kMeta);
  EXPECT_GT(of_real.kernels, 150);
  EXPECT_EQ(of_planned.kernels, of_real.kernels);
  EXPECT_EQ(of_planned.flops(), of_real.flops());
  EXPECT_NEAR(of_planned.bytes / of_real.bytes, 1.0, 0.1);
}

TEST(ExecutedWork, CountsKernelsAndWhatTheyMove) {
  const at::Tensor a = at::ones({3, 4}), b = at::ones({4, 5}), row = at::ones({5});
  ExecutedWork executed;
  const at::Tensor c = at::mm(a, b);  // 12 + 20 read, 15 written
  EXPECT_EQ(executed.count().kernels, 1);
  EXPECT_EQ(executed.take().bytes, 4.0 * (12 + 20 + 15));
  const at::Tensor view = c.t().narrow(0, 1, 2).unsqueeze(0).expand({7, -1, -1});
  EXPECT_EQ(executed.count().kernels, 0);
  at::Tensor sum = c + row.expand({3, 5});  // a row is read once
  EXPECT_EQ(executed.take().bytes, 4.0 * (15 + 5 + 15));
  sum.zero_();  // written alone
  EXPECT_EQ(executed.take().bytes, 4.0 * 15);
  sum.add_(c);
  EXPECT_EQ(executed.take().bytes, 4.0 * 3 * 15);
  view.to(at::kDouble);  // 3 x 2 numbers in memory, 42 made
  const ExecutedWork::Count cast = executed.take();
  EXPECT_EQ(cast.kernels, 1);
  EXPECT_EQ(cast.bytes, 4.0 * 6 + 8.0 * 42);
  at::Tensor place = at::empty({3, 5});
  at::mm_out(place, a, b);  // what it writes is no argument that it reads
  EXPECT_EQ(executed.take().bytes, 4.0 * (12 + 20 + 15));
  at::silu_out(place, c);
  EXPECT_EQ(executed.count().kernels, 1);
  EXPECT_EQ(executed.take().bytes, 4.0 * 2 * 15);
  // Numbers of another device are no kernels of this one.
  at::ones({3}, at::kMeta) + 1;
  EXPECT_EQ(executed.take().kernels, 0);
}

TEST(ExecutedWork, OneOfOurOperationsIsOneKernelHoweverItIsComputed) {
  const at::Tensor x = draw("x", {6, 8}).to(at::kFloat);
  ExecutedWork executed;
  kernels::gelu_tanh(x);
  EXPECT_EQ(executed.count().kernels, 1);
  EXPECT_EQ(executed.take().bytes, 2 * 4.0 * 6 * 8);
  kernels::gelu_tanh(x.to(at::kHalf));  // a cast, then ATen's operations
  EXPECT_EQ(executed.take().kernels, 2);
}

}  // namespace
}  // namespace vmla::model
