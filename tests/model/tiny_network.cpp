#include "tests/model/tiny_network.h"

#include <ATen/ATen.h>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::model {

ModelConfig tiny_dense() {
  ModelConfig c;
  c.dim = 24;
  c.ffn_dim = 20;
  c.num_heads = 2;
  c.num_layers = 2;
  c.in_dim = 3;
  c.out_dim = 3;
  c.freq_dim = 8;
  c.text_dim = 7;
  c.text_len = 5;
  return c;
}

ModelConfig tiny_mla() {
  ModelConfig c = tiny_dense();
  c.attention = "mla";
  c.kv_lora_rank = {{7, 10}};
  c.q_lora_rank = 9;
  c.qk_nope_head_dim = 6;
  c.qk_rope_head_dim = 4;
  c.v_head_dim = 8;
  c.rope_pair_indices = {{{0, 3}, {5, 2}}};
  return c;
}

ModelConfig tiny_causal(const std::string& attention, int64_t n, int64_t window, int64_t sink) {
  ModelConfig c = attention == "mla" ? tiny_mla() : tiny_dense();
  c.num_frame_per_block = n;
  c.local_attn_size = window;
  c.sink_size = sink;
  return c;
}

at::Tensor draw(const std::string& name, at::IntArrayRef sizes) {
  const kernels::DrawKey key{.seed = 11,
                             .step = 0,
                             .purpose = kernels::Purpose::kNoise,
                             .role = kernels::hash_role(name),
                             .sample = 0};
  return kernels::normal(key, sizes).to(at::kDouble);
}

std::map<std::string, at::Tensor> drawn_weights(const ModelConfig& config) {
  std::map<std::string, at::Tensor> weights;
  for (const int64_t unit : all_units(config)) {
    for (const TensorSpec& spec : unit_layout(config, unit)) {
      at::Tensor w = draw(spec.name, spec.shape);
      const bool is_vector = spec.shape.size() == 1;
      const bool is_gain = is_vector && spec.name.find("norm") != std::string::npos &&
                           spec.name.find(".bias") == std::string::npos;
      if (is_gain) {
        w = 1.0 + 0.3 * w;
      } else if (is_vector || spec.name.find("modulation") != std::string::npos) {
        w = 0.3 * w;
      } else {
        const int64_t inputs = spec.numel / spec.shape[0];
        w = w / std::sqrt(static_cast<double>(inputs));
      }
      weights[spec.name] = w;
    }
  }
  return weights;
}

TinyNetwork::TinyNetwork(const ModelConfig& c, at::ScalarType dtype)
    : config(c), weights(config, drawn_weights(config), "drawn", at::kCPU, dtype) {}

DitInputs tiny_inputs(const ModelConfig& config, int64_t num_frames) {
  const at::Tensor t = draw("timesteps", {2, num_frames}).sigmoid() * 1000.0;
  return {draw("latents", {2, num_frames, config.in_dim, kTinyHeight, kTinyWidth}),
          t,
          draw("text", {2, config.text_len - 2, config.text_dim})};
}

DitInputs to_float(const DitInputs& in) {
  return {in.latents_BFCHW.to(at::kFloat), in.timesteps_BF, in.text_BTE.to(at::kFloat)};
}

DitInputs frames_of(const DitInputs& in, int64_t first, int64_t count, bool clean) {
  const at::Tensor t = in.timesteps_BF.narrow(1, first, count);
  return {in.latents_BFCHW.narrow(1, first, count), clean ? at::zeros_like(t) : t, in.text_BTE};
}

PreparedPlan prepared(const ModelConfig& config, const AttentionPlan& plan, at::ScalarType dtype) {
  return prepare_plan(
      config, plan, {kTinyHeight / 2, kTinyWidth / 2}, at::TensorOptions().dtype(dtype));
}

at::Tensor flow_of(TinyNetwork& net, const DitInputs& inputs, const AttentionPlan& plan) {
  const PreparedPlan ready = prepared(net.config, plan, inputs.latents_BFCHW.scalar_type());
  return dit_forward(net.network(), inputs, ready, {}, {}).flow_BFCHW;
}

at::Tensor cached_flow(TinyNetwork& net,
                       const DitInputs& inputs,
                       const DitInputs& context,
                       const CachedForward& how) {
  const int64_t num_frames = inputs.latents_BFCHW.size(1);
  KvCache cache(net.config, how.kind, kTinyTokens, num_frames);
  PassCache text;
  std::vector<at::Tensor> flows;
  int64_t first = 0;
  for (const int64_t count : chunk_sizes(net.config, num_frames)) {
    const KvWindow window = cache.window(first, count);
    const PreparedPlan plan = prepared(net.config,
                                       cached_plan(net.config, window.frames, first, count),
                                       inputs.latents_BFCHW.scalar_type());
    PassCache* cross = how.keep_text ? &text : nullptr;
    const bool own_fill = !context.latents_BFCHW.defined();
    const ForwardOptions flow{.keep_kv = own_fill, .pass_cache = cross, .form = how.form};
    DitOutputs out =
        dit_forward(net.network(), frames_of(inputs, first, count), plan, window.layers, flow);
    flows.push_back(out.flow_BFCHW);
    if (!own_fill) {
      const ForwardOptions fill{
          .keep_kv = true, .need_flow = false, .pass_cache = cross, .form = how.form};
      out = dit_forward(net.network(), frames_of(context, first, count), plan, window.layers, fill);
    }
    cache.append(out.kv, first, count);
    first += count;
  }
  return at::cat(flows, 1);
}

double max_difference(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes(), "shapes differ: ", a.sizes(), " and ", b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

bool bit_equal(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && at::equal(a, b);
}

}  // namespace vmla::model
