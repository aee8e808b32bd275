#pragma once

#include <cstdint>

namespace vmla::kernels {

/// One update of adamw.h with everything worked out that is the same for all elements. All buffers
/// are fp32, of `count` elements.
struct AdamwParams {
  float* param;
  const float* grad;
  float* exp_avg;  // null with beta1 = 0
  float* exp_avg_sq;
  int64_t count;
  const float* grad_scale;  // one number; not finite: nothing is written
  float decay;              // 1 - lr * weight_decay
  float beta1, beta2;
  float one_minus_beta1, one_minus_beta2;
  float step_size;        // lr / (1 - beta1^step)
  float root_correction;  // 1 / sqrt(1 - beta2^step)
  float eps;
};

}  // namespace vmla::kernels
