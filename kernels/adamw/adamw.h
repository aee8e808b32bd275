#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// What one update does: the optimizer's settings and the number of the step.
struct AdamwSettings {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;  // decoupled: param *= 1 - lr * weight_decay first
  int64_t step;         // 1 for the first update
};

/// One decoupled AdamW update over flat fp32 buffers [n], in place (docs/algorithms.md 11.1). With
/// beta1 = 0 the first moment equals the gradient, so `exp_avg` must be undefined and is not kept.
///
/// Every gradient element is multiplied by grad_scale, the factor of gradient clipping: a tensor []
/// on the buffers' device, so that the host need not wait for it. Where it is not finite, nothing
/// is written. Buffers in fp64 and on other devices run the reference.
void adamw_step_(at::Tensor& param,
                 const at::Tensor& grad,
                 at::Tensor& exp_avg,
                 at::Tensor& exp_avg_sq,
                 const at::Tensor& grad_scale,
                 const AdamwSettings& settings);
/// The same update in plain ATen operations, in the buffers' dtype. Waits for grad_scale.
void adamw_step_reference_(at::Tensor& param,
                           const at::Tensor& grad,
                           at::Tensor& exp_avg,
                           at::Tensor& exp_avg_sq,
                           const at::Tensor& grad_scale,
                           const AdamwSettings& settings);

}  // namespace vmla::kernels
