#include "model/conversion/mla_from_dense.h"

#include "model/conversion/layer_conversion.h"
#include "model/conversion/side_by_side.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/weights/weights.h"

#include <ATen/ATen.h>

namespace vmla::model {
namespace {

void check_sizes(const ModelConfig& mla, const ModelConfig& dense) {
  const auto same = [](const char* key, int64_t a, int64_t b) {
    if (a != b)
      fail_user(
          "init from dense weights: model.{} is {}, the dense model's is {}: they must be equal",
          key,
          a,
          b);
  };
  if (dense.is_mla())
    fail_user(
        "init from dense weights: the given weights are already MLA, take them without "
        "init.method");
  same("dim", mla.dim, dense.dim);
  same("num_heads", mla.num_heads, dense.num_heads);
  same("num_layers", mla.num_layers, dense.num_layers);
  same("ffn_dim", mla.ffn_dim, dense.ffn_dim);
  same("in_dim", mla.in_dim, dense.in_dim);
  same("out_dim", mla.out_dim, dense.out_dim);
  same("text_dim", mla.text_dim, dense.text_dim);
  same("freq_dim", mla.freq_dim, dense.freq_dim);
}

void check_head_split(const ModelConfig& mla, std::string_view method) {
  if (mla.qk_nope_head_dim + mla.qk_rope_head_dim != mla.head_dim() ||
      mla.v_head_dim != mla.head_dim()) {
    fail_user(
        "init.method {} keeps every channel of a dense head: qk_nope_head_dim + qk_rope_head_dim = "
        "{} and v_head_dim = {} must both be the dense head's {}",
        method,
        mla.qk_nope_head_dim + mla.qk_rope_head_dim,
        mla.v_head_dim,
        mla.head_dim());
  }
}

}  // namespace

ConvertLayer function_of(const InitMethod& method) {
#define VMLA_INIT_METHOD_CASE(identifier, ...) \
  if (method.name == #identifier) return convert_layer_##identifier;
  VMLA_INIT_METHODS(VMLA_INIT_METHOD_CASE)
#undef VMLA_INIT_METHOD_CASE
  TORCH_INTERNAL_ASSERT(false, "an init method without a function: ", method.name);
}

void check_conversion_sizes(const ModelConfig& mla,
                            const ModelConfig& dense,
                            const std::map<std::string, at::Tensor>& dense_tensors) {
  check_sizes(mla, dense);
  check_weights(dense, dense_tensors, "dense weights");
  check_head_split(mla, kDefaultInitMethod);
}

std::string dropped_bias_note(const std::vector<InitLayerReport>& layers) {
  double query = 0, key = 0;
  for (const InitLayerReport& layer : layers) {
    query = std::max(query, layer.query_bias_lost);
    key = std::max(key, layer.rope_key_bias_lost);
  }
  if (query == 0 && key == 0) return "";
  const auto percent = [](double share) {
    return formatted("{:g} %", std::round(share * 1000) / 10);
  };
  return formatted(
      "model.bias is false: the dense query biases and rotary key biases are dropped, in the layer "
      "that loses most {} of the queries' energy and {} of the rotary key's; model.bias: true "
      "keeps them",
      percent(query),
      percent(key));
}

void convert_every(int64_t num_layers,
                   int64_t first,
                   int64_t step,
                   const std::function<ConvertedLayer(int64_t layer)>& convert,
                   std::vector<ConvertedLayer>& layers) {
  const int64_t count = first < num_layers ? (num_layers - first + step - 1) / step : 0;
  side_by_side(count, [&](int64_t i) {
    const int64_t layer = first + i * step;
    layers[static_cast<size_t>(layer)] = convert(layer);
  });
}

std::vector<ConvertedLayer> convert_alone(
    int64_t num_layers, const std::function<ConvertedLayer(int64_t layer)>& convert) {
  std::vector<ConvertedLayer> layers(static_cast<size_t>(num_layers));
  convert_every(num_layers, 0, 1, convert, layers);
  return layers;
}

MlaInit init_mla_from_dense(const ModelConfig& mla,
                            const ModelConfig& dense,
                            const std::map<std::string, at::Tensor>& dense_tensors,
                            const std::string& method_name,
                            uint64_t seed,
                            const ConvertLayers& convert_layers,
                            const std::vector<LayerMoments>& moments,
                            int64_t refine_steps) {
  check_sizes(mla, dense);
  check_weights(dense, dense_tensors, "dense weights");
  const InitMethod* method = find_init_method(method_name);
  if (method == nullptr) {
    fail_user("init.method '{}' is unknown; use {}", method_name, init_method_choice());
  }
  if (method->factorises) check_head_split(mla, method->name);
  if (method->calibrates && moments.empty()) {
    fail_user("init.method {} looks at activations: it needs latents to calibrate on",
              method->name);
  }
  if (refine_steps > 0 && !method->factorises) {
    fail_user(
        "init.refine_steps: {} steps, but init.method {} approximates nothing that could be "
        "refined; use 0",
        refine_steps,
        method->name);
  }
  TORCH_CHECK(!method->calibrates || static_cast<int64_t>(moments.size()) == mla.num_layers,
              "moments of each layer are needed, given: ",
              moments.size());
  for (int64_t layer = 0; layer < mla.num_layers; ++layer) {
    if (mla.kv_lora_rank.at(layer) > 1) continue;
    log::warn(
        "model.kv_lora_rank is 1 in layer {}: the latent's norm divides one number by its own size "
        "and leaves a sign; use 2 or more",
        layer);
    break;
  }
  const ConvertLayer convert_layer = function_of(*method);

  MlaInit init;
  for (const auto& [name, tensor] : dense_tensors) {
    if (name.find(".self_attn.") == std::string::npos) init.tensors[name] = tensor.to(at::kFloat);
  }
  const auto convert = [&](int64_t layer) {
    ConvertedLayer converted = convert_layer(
        {.mla = mla,
         .dense = dense_tensors,
         .layer = layer,
         .seed = seed,
         .moments = method->calibrates ? &moments[static_cast<size_t>(layer)] : nullptr,
         .refine_steps = refine_steps});
    converted.report.layer = layer;
    for (auto& [name, tensor] : converted.tensors) tensor = tensor.to(at::kFloat);
    return converted;
  };
  for (const ConvertedLayer& layer : convert_layers(mla.num_layers, convert)) {
    for (const auto& [name, tensor] : layer.tensors)
      init.tensors[unit_prefix(layer.report.layer) + "self_attn." + name] = tensor;
    if (method->factorises) init.layers.push_back(layer.report);
  }
  check_weights(mla, init.tensors, "initialised weights");
  return init;
}

}  // namespace vmla::model
