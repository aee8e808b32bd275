#include "kernels/adamw/adamw_cpu.h"

#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

VMLA_INLINE float updated(const AdamwParams& p, float param, float moment, float square) {
  const float denominator = std::sqrt(square) * p.root_correction + p.eps;
  return param * p.decay - p.step_size * (moment / denominator);
}

}  // namespace

VMLA_CLONES void adamw_cpu(const AdamwParams& params) {
  const AdamwParams p = params;
  const float scale = *p.grad_scale;
  if (!std::isfinite(scale)) return;
  float* param = p.param;
  float* squares = p.exp_avg_sq;
  if (p.exp_avg == nullptr) {
    VMLA_INDEPENDENT
    for (int64_t i = 0; i < p.count; ++i) {
      const float g = p.grad[i] * scale;
      const float square = squares[i] * p.beta2 + g * g * p.one_minus_beta2;
      squares[i] = square;
      param[i] = updated(p, param[i], g, square);
    }
    return;
  }
  float* moments = p.exp_avg;
  VMLA_INDEPENDENT
  for (int64_t i = 0; i < p.count; ++i) {
    const float g = p.grad[i] * scale;
    const float moment = moments[i] * p.beta1 + g * p.one_minus_beta1;
    const float square = squares[i] * p.beta2 + g * g * p.one_minus_beta2;
    moments[i] = moment;
    squares[i] = square;
    param[i] = updated(p, param[i], moment, square);
  }
}

}  // namespace vmla::kernels
