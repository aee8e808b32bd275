#pragma once

#include <cstdint>

namespace vmla::kernels {

/// One update of adamw.h with everything worked out that is the same for all elements. Buffers are
/// of `count` elements, in fp32 but for the rounded ones, which are in bf16.
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
  // What is written of the new parameters in the same pass; null: nothing.
  void* rounded = nullptr;
  float* average = nullptr;
  void* rounded_average = nullptr;  // with an average only
  // As at::lerp, from the nearer end, so that a decay of 0 gives param itself: average + factor *
  // (param - average) with a factor below 1/2, or param + factor * (param - average) with a
  // negative one.
  float difference_factor = 0;
  bool average_from_param = false;
};

}  // namespace vmla::kernels
