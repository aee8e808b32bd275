#include "tests/trainer/small_networks.h"

#include <ATen/ATen.h>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::trainer {
namespace {

/// Standard normals in fp64 that depend on `name` alone.
at::Tensor drawn(const std::string& name, at::IntArrayRef sizes) {
  const kernels::DrawKey key{.seed = 5,
                             .step = 0,
                             .purpose = kernels::Purpose::kNoise,
                             .role = kernels::hash_role(name),
                             .sample = 0};
  return kernels::normal(key, sizes).to(at::kDouble);
}

}  // namespace

model::ModelConfig small_model(const std::string& attention) {
  model::ModelConfig config;
  config.attention = attention;
  config.dim = 16;
  config.ffn_dim = 32;
  config.num_heads = 2;
  config.num_layers = 2;
  config.in_dim = config.out_dim = 3;
  config.freq_dim = 8;
  config.text_dim = 5;
  config.text_len = 3;
  config.kv_lora_rank = {{6}};
  config.q_lora_rank = 8;
  config.qk_nope_head_dim = 2;
  config.qk_rope_head_dim = 6;
  config.v_head_dim = 8;
  config.num_frame_per_block = 2;
  config.local_attn_size = 4;
  config.sink_size = 1;
  return config;
}

model::ModelConfig small_score() {
  model::ModelConfig config = small_model("dense");
  config.dim = 24;
  config.num_heads = 3;
  config.num_layers = 3;
  config.local_attn_size = -1;
  config.sink_size = 0;
  return config;
}

std::map<std::string, at::Tensor> small_weights(const model::ModelConfig& config, uint64_t seed) {
  auto weights = model::random_weights(config, seed);
  for (auto& [name, w] : weights) w = w.to(at::kDouble);
  at::Tensor& head = weights.at("head.head.weight");
  head = 0.2 * drawn("head " + std::to_string(seed), head.sizes());
  return weights;
}

void SmallNetworks::add(const std::string& role,
                        const model::ModelConfig& config,
                        std::map<std::string, at::Tensor> weights,
                        model::Recompute recompute) {
  if (weights.empty()) weights = small_weights(config, kernels::hash_role(role));
  One one{config, nullptr, recompute};
  one.weights = std::make_unique<model::TrainedWeights>(
      config, weights, role, at::kCPU, at::kDouble, at::kDouble);
  roles_.insert_or_assign(role, std::move(one));
}

NetworkTable SmallNetworks::table() const {
  NetworkTable table;
  for (const auto& [role, one] : roles_)
    table.emplace(role, RoleNetwork{{one.config, *one.weights}, one.recompute});
  return table;
}

void SmallNetworks::zero_gradients() {
  for (auto& [role, one] : roles_) one.weights->zero_gradients();
}

std::map<std::string, at::Tensor> SmallNetworks::gradients(const std::string& role) const {
  std::map<std::string, at::Tensor> copy;
  for (const auto& [name, gradient] : roles_.at(role).weights->gradients())
    copy[name] = gradient.clone();
  return copy;
}

model::TensorMap small_inputs(const Objective& objective,
                              const std::string& player,
                              const ClipShape& clip,
                              const DrawContext& context) {
  model::TensorMap inputs = objective.draws(player, clip, context);
  for (auto& [name, tensor] : inputs) {
    if (tensor.is_floating_point()) tensor = tensor.to(at::kDouble);
  }
  const auto samples = [&](const std::string& name, at::IntArrayRef sizes) {
    std::vector<at::Tensor> rows;
    for (int64_t b = 0; b < context.batch; ++b)
      rows.push_back(drawn(name + std::to_string(context.first_sample + b), sizes));
    return at::stack(rows);
  };
  inputs["clean_latents"] = samples("clip", {clip.frames, clip.channels, clip.height, clip.width});
  inputs["text"] = samples("text", {3, 5});
  inputs["negative_text"] = drawn("negative", {1, 2, 5});
  return inputs;
}

Evaluated evaluate_small(Objective& objective,
                         const std::string& player,
                         const model::TensorMap& inputs,
                         const SmallNetworks& networks,
                         model::GradMode grad,
                         double share) {
  Evaluated result;
  objective.evaluate(
      player, inputs, networks.table(), grad, [&](const LossTerms& terms, bool last) {
        result.loss += share * terms.total.item<double>();
        ++result.emissions;
        if (grad != model::GradMode::kNone) (share * terms.total).backward();
        if (last) result.details = terms.details;
      });
  return result;
}

double along(const std::map<std::string, at::Tensor>& gradients) {
  double sum = 0;
  for (const auto& [name, g] : gradients)
    sum += (g * drawn("direction of " + name, g.sizes())).sum().item<double>();
  return sum;
}

std::map<std::string, at::Tensor> moved_along(std::map<std::string, at::Tensor> weights, double h) {
  for (auto& [name, w] : weights) w = w + h * drawn("direction of " + name, w.sizes());
  return weights;
}

}  // namespace vmla::trainer
