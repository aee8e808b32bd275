#include "kernels/adamw/adamw_cpu.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

/// Elements that are taken through all loops before the next: few enough for the L1 cache.
constexpr int64_t kBlock = 1024;

VMLA_INLINE float updated(const AdamwParams& p, float param, float moment, float square) {
  const float denominator = std::sqrt(square) * p.root_correction + p.eps;
  return param * p.decay - p.step_size * (moment / denominator);
}

/// The nearest bf16, halves to even; NaN stays NaN.
VMLA_INLINE uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(value != value ? 0x7FC0 : nearest);
}

VMLA_INLINE void round(const float* from, void* to, int64_t begin, int64_t end) {
  auto* rounded = static_cast<uint16_t*>(to);
  VMLA_INDEPENDENT
  for (int64_t i = begin; i < end; ++i) rounded[i] = to_bfloat16(from[i]);
}

VMLA_INLINE void update(const AdamwParams& p, float scale, int64_t begin, int64_t end) {
  float* param = p.param;
  float* squares = p.exp_avg_sq;
  if (p.exp_avg == nullptr) {
    VMLA_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) {
      const float g = p.grad[i] * scale;
      const float square = squares[i] * p.beta2 + g * g * p.one_minus_beta2;
      squares[i] = square;
      param[i] = updated(p, param[i], g, square);
    }
    return;
  }
  float* moments = p.exp_avg;
  VMLA_INDEPENDENT
  for (int64_t i = begin; i < end; ++i) {
    const float g = p.grad[i] * scale;
    const float moment = moments[i] * p.beta1 + g * p.one_minus_beta1;
    const float square = squares[i] * p.beta2 + g * g * p.one_minus_beta2;
    moments[i] = moment;
    squares[i] = square;
    param[i] = updated(p, param[i], moment, square);
  }
}

VMLA_INLINE void follow(const AdamwParams& p, int64_t begin, int64_t end) {
  const float* param = p.param;
  float* average = p.average;
  VMLA_INDEPENDENT
  for (int64_t i = begin; i < end; ++i) {
    const float base = p.average_from_param ? param[i] : average[i];
    average[i] = base + p.difference_factor * (param[i] - average[i]);
  }
}

}  // namespace

VMLA_CLONES void adamw_cpu(const AdamwParams& params) {
  const AdamwParams p = params;
  const float scale = *p.grad_scale;
  if (!std::isfinite(scale)) return;
  for (int64_t begin = 0; begin < p.count; begin += kBlock) {
    const int64_t end = std::min(p.count, begin + kBlock);
    update(p, scale, begin, end);
    if (p.rounded != nullptr) round(p.param, p.rounded, begin, end);
    if (p.average == nullptr) continue;
    follow(p, begin, end);
    if (p.rounded_average != nullptr) round(p.average, p.rounded_average, begin, end);
  }
}

}  // namespace vmla::kernels
