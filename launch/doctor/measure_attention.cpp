#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <functional>

#include "kernels/attention/attention.h"
#include "kernels/counter_rng/counter_rng.h"
#include "launch/doctor/measure_device.h"
#include "launch/doctor/timing.h"
#include "model/config/model_config.h"
#include "model/io/format.h"

namespace vmla::launch::doctor {
namespace {

/// Widths of a head: of queries and keys, and of values.
struct Head {
  std::string name;
  int64_t key, value;
};

/// The heads of Wan-1.3B and of its latent form: expanded as in training, absorbed as from a cache.
std::vector<Head> heads() {
  const model::ModelConfig config;  // the defaults are those
  const int64_t latent = config.kv_lora_rank.values.front(), rope = config.qk_rope_head_dim;
  return {{"dense head", config.head_dim(), config.head_dim()},
          {"latent head", config.qk_nope_head_dim + rope, config.v_head_dim},
          {"absorbed latent", latent + rope, latent}};
}

struct Inputs {
  at::Tensor q, k, v;  // [B, tokens, heads, width]
};

Inputs draw_inputs(const Head& head, int64_t tokens, at::Device device, at::ScalarType dtype) {
  const auto draw = [&](uint64_t stream, int64_t width) {
    return kernels::normal({.seed = 13, .purpose = kernels::Purpose::kSynthetic, .sample = stream},
                           {1, tokens, 2, width})
        .to(device, dtype);
  };
  return {draw(1, head.key), draw(2, head.key), draw(3, head.value)};
}

using Attend = std::function<void(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

/// LibTorch's attention kernels for GPUs, by name.
std::vector<std::pair<std::string, Attend>> gpu_back_ends() {
  return {{"flash",
           [](const auto& q, const auto& k, const auto& v) {
             at::_scaled_dot_product_flash_attention(q, k, v, 0.0, false, false);
           }},
          {"efficient",
           [](const auto& q, const auto& k, const auto& v) {
             at::_scaled_dot_product_efficient_attention(q, k, v, std::nullopt, true);
           }},
          {"cudnn", [](const auto& q, const auto& k, const auto& v) {
             at::_scaled_dot_product_cudnn_attention(q, k, v, std::nullopt, true);
           }}};
}

/// The back end that kernels/attention takes for a dtype on a device.
std::string serving(at::Device device, at::ScalarType dtype) {
  if (!device.is_cuda()) return "flash for the CPU";
  return dtype == at::kFloat ? "efficient" : "flash";
}

AttentionFacts measure(const Head& head, at::Device device, at::ScalarType dtype) {
  const bool bf16 = dtype == at::kBFloat16;
  AttentionFacts facts;
  facts.shape = formatted("{}, {}/{}, {}", head.name, head.key, head.value, bf16 ? "bf16" : "fp32");
  facts.serves = serving(device, dtype);
  // Probabilities and their sums are rounded to the dtype.
  facts.tolerance = bf16 ? 3e-2 : 1e-5;
  const double scale = 1 / std::sqrt(static_cast<double>(head.key));
  const auto whole = [](int64_t tokens) {
    return std::vector<kernels::AttentionSegment>{{0, tokens, 0, 0, tokens}};
  };
  facts.problem = problem_of([&] {
    const at::NoGradGuard no_grad;
    constexpr int64_t kFew = 77;
    const Inputs few = draw_inputs(head, kFew, device, dtype);
    const auto exact = [](const at::Tensor& t) { return t.to(at::kCPU, at::kDouble); };
    const at::Tensor expected = kernels::segmented_attention_reference(
                                    exact(few.q), exact(few.k), exact(few.v), whole(kFew), scale)
                                    .out_BLNV;
    const at::Tensor actual =
        exact(kernels::segmented_attention(few.q, few.k, few.v, whole(kFew), scale).out_BLNV);
    facts.error = ((actual - expected).abs().max() / expected.abs().max()).item<double>();
    const int64_t tokens = device.is_cuda() ? 16384 : 1024;
    const Inputs many = draw_inputs(head, tokens, device, dtype);
    const double flops = 2.0 * 2 * static_cast<double>(tokens) * static_cast<double>(tokens) *
                         static_cast<double>(head.key + head.value);
    facts.rate = flops / fastest(device, [&] {
                   kernels::segmented_attention(many.q, many.k, many.v, whole(tokens), scale);
                 });
    if (!device.is_cuda()) return;
    for (const auto& [name, attend] : gpu_back_ends()) {
      const auto heads_first = [](const at::Tensor& t) { return t.transpose(1, 2); };
      const std::string refused =
          problem_of([&] { attend(heads_first(few.q), heads_first(few.k), heads_first(few.v)); });
      if (!refused.empty() || name == facts.serves) continue;
      const double seconds = fastest(
          device, [&] { attend(heads_first(many.q), heads_first(many.k), heads_first(many.v)); });
      facts.also_take.emplace_back(name, flops / seconds);
    }
  });
  return facts;
}

}  // namespace

std::vector<AttentionFacts> measure_attention(at::Device device) {
  std::vector<AttentionFacts> all;
  for (const Head& head : heads()) {
    if (device.is_cuda()) all.push_back(measure(head, device, at::kBFloat16));
    all.push_back(measure(head, device, at::kFloat));
  }
  return all;
}

}  // namespace vmla::launch::doctor
