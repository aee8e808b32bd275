#include <ATen/ATen.h>

#include <cmath>

#include "kernels/adamw/adamw.h"

namespace vmla::kernels {

void adamw_step_reference_(at::Tensor& param,
                           const at::Tensor& grad,
                           at::Tensor& exp_avg,
                           at::Tensor& exp_avg_sq,
                           const at::Tensor& grad_scale,
                           const AdamwParams& params) {
  const double scale = grad_scale.item<double>();
  if (!std::isfinite(scale)) return;
  const at::Tensor g = grad * scale;
  const double correction1 = 1 - std::pow(params.beta1, params.step);
  const double correction2 = 1 - std::pow(params.beta2, params.step);
  param.mul_(1 - params.lr * params.weight_decay);
  if (exp_avg.defined()) exp_avg.mul_(params.beta1).add_(g, 1 - params.beta1);
  exp_avg_sq.mul_(params.beta2).addcmul_(g, g, 1 - params.beta2);
  const at::Tensor moment = exp_avg.defined() ? exp_avg : g;
  const at::Tensor denominator = (exp_avg_sq / correction2).sqrt_().add_(params.eps);
  param.addcdiv_(moment, denominator, -params.lr / correction1);
}

}  // namespace vmla::kernels
