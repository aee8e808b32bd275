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

/// What is written of the new parameters in the same pass over memory; undefined: nothing.
struct AdamwFollowers {
  at::Tensor rounded = {};          // [n] bf16: param, in the dtype that a network computes in
  at::Tensor average = {};          // [n] as param: average <- decay average + (1 - decay) param
  double average_decay = 0;         // 0 makes the average a copy
  at::Tensor rounded_average = {};  // [n] bf16: the average; only with one
};

/// One decoupled AdamW update over flat fp32 buffers [n], in place (docs/algorithms.md 11.1). With
/// beta1 = 0 the first moment equals the gradient, so `exp_avg` must be undefined and is not kept.
///
/// Every gradient element is multiplied by grad_scale, the factor of gradient clipping: a tensor []
/// on the buffers' device, so that the host need not wait for it. Where it is not finite, nothing
/// is written, to the followers neither. Buffers in fp64 and on other devices run the reference.
void adamw_step_(at::Tensor& param,
                 const at::Tensor& grad,
                 at::Tensor& exp_avg,
                 at::Tensor& exp_avg_sq,
                 const at::Tensor& grad_scale,
                 const AdamwSettings& settings,
                 const AdamwFollowers& followers = {});
/// The same update in plain ATen operations, in the buffers' dtype. Waits for grad_scale.
void adamw_step_reference_(at::Tensor& param,
                           const at::Tensor& grad,
                           at::Tensor& exp_avg,
                           at::Tensor& exp_avg_sq,
                           const at::Tensor& grad_scale,
                           const AdamwSettings& settings,
                           const AdamwFollowers& followers = {});

}  // namespace vmla::kernels
