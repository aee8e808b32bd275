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

/// One decoupled AdamW update over flat fp32 buffers [n], in place. With beta1 = 0 the first moment
/// equals the gradient, so `exp_avg` must be undefined and is not kept. exp_avg_sq: [n].
/// Every gradient element is multiplied by grad_scale (clipping; fp32 [], where the buffers are, so
/// that no host has to wait for it); where that is not finite, nothing is written.
void adamw_step_(at::Tensor& param,
                 const at::Tensor& grad,
                 at::Tensor& exp_avg,
                 at::Tensor& exp_avg_sq,
                 const at::Tensor& grad_scale,
                 const AdamwSettings& settings);
void adamw_step_reference_(at::Tensor& param,
                           const at::Tensor& grad,
                           at::Tensor& exp_avg,
                           at::Tensor& exp_avg_sq,
                           const at::Tensor& grad_scale,
                           const AdamwSettings& settings);

}  // namespace vmla::kernels
