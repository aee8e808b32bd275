#include "model/network/executed_flops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <ostream>

#include "kernels/attention/attention.h"
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

class ExecutedFlopsOfAForward
    : public testing::TestWithParam<std::tuple<const char*, at::ScalarType, Mask>> {};

/// forward_flops is arithmetic over sizes; what runs is what the dispatcher sees. Both are whole
/// numbers below 2^53, so that they must be equal.
TEST_P(ExecutedFlopsOfAForward, AreThoseOfThePlan) {
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

  ExecutedFlops executed;
  dit_forward(net.network(), inputs, ready, window, {});
  const ExecutedFlops::Count count = executed.take();
  const double text_kv =
      2.0 * 2.0 *
      static_cast<double>(config.num_layers * config.text_len * config.dim * config.dim);
  const double samples = 2;
  EXPECT_EQ(count.products,
            samples * (wanted.linear + text_kv + rebuilding_flops(config, plan, kTinyTokens)));
  EXPECT_EQ(count.attention, samples * (wanted.attention + wanted.cross - text_kv));
  EXPECT_EQ(executed.count().total(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    ExecutedFlopsOfAForward,
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

TEST(ExecutedFlops, ABackwardOfAttentionCountsAsTwoForwards) {
  const auto q = draw("q", {1, 5, 2, 4}).to(at::kFloat).requires_grad_();
  const auto k = draw("k", {1, 7, 2, 4}).to(at::kFloat);
  const auto v = draw("v", {1, 7, 2, 3}).to(at::kFloat);
  ExecutedFlops executed;
  const auto out = kernels::segmented_attention(q, k, v, {{0, 5, 0, 0, 7}}, 0.5).out_BLNV;
  EXPECT_EQ(executed.take().attention, 2.0 * 5 * 7 * 2 * (4 + 3));
  out.sum().backward();
  const ExecutedFlops::Count backward = executed.take();
  EXPECT_EQ(backward.attention, 4.0 * 5 * 7 * 2 * (4 + 3));
  EXPECT_EQ(backward.products, 0);
}

TEST(ExecutedFlops, CountsTheProductsOfItsOwnTimeAlone) {
  const at::Tensor a = at::ones({3, 4}), b = at::ones({4, 5});
  at::mm(a, b);
  {
    ExecutedFlops executed;
    at::linear(a, b.t(), at::ones({5}));
    at::bmm(a.unsqueeze(0), b.unsqueeze(0));
    EXPECT_EQ(executed.count().products, 2 * 2.0 * 3 * 4 * 5);
    EXPECT_THROW(ExecutedFlops second, c10::Error);
  }
  ExecutedFlops executed;
  EXPECT_EQ(executed.count().total(), 0);
}

}  // namespace
}  // namespace vmla::model
