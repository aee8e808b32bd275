#include "kernels/adamw/adamw_cpu.h"

#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

VMLA_INLINE float updated(const AdamwLoop& a, float param, float moment, float square) {
  const float denominator = std::sqrt(square) * a.root_correction + a.eps;
  return param * a.decay - a.step_size * (moment / denominator);
}

}  // namespace

VMLA_CLONES void adamw_cpu(const AdamwLoop& loop) {
  const AdamwLoop a = loop;
  const float scale = *a.grad_scale;
  if (!std::isfinite(scale)) return;
  float* param = a.param;
  float* squares = a.exp_avg_sq;
  if (a.exp_avg == nullptr) {
    VMLA_INDEPENDENT
    for (int64_t i = 0; i < a.count; ++i) {
      const float g = a.grad[i] * scale;
      const float square = squares[i] * a.beta2 + g * g * a.one_minus_beta2;
      squares[i] = square;
      param[i] = updated(a, param[i], g, square);
    }
    return;
  }
  float* moments = a.exp_avg;
  VMLA_INDEPENDENT
  for (int64_t i = 0; i < a.count; ++i) {
    const float g = a.grad[i] * scale;
    const float moment = moments[i] * a.beta1 + g * a.one_minus_beta1;
    const float square = squares[i] * a.beta2 + g * g * a.one_minus_beta2;
    moments[i] = moment;
    squares[i] = square;
    param[i] = updated(a, param[i], moment, square);
  }
}

}  // namespace vmla::kernels
