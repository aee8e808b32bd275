#include <ATen/ATen.h>

#include <cmath>

#include "kernels/adamw/adamw.h"

namespace vmla::kernels {

void adamw_step_reference_(at::Tensor& param,
                           const at::Tensor& grad,
                           at::Tensor& exp_avg,
                           at::Tensor& exp_avg_sq,
                           const at::Tensor& grad_scale,
                           const AdamwSettings& settings,
                           const AdamwFollowers& followers) {
  const double scale = grad_scale.item<double>();
  if (!std::isfinite(scale)) return;
  const at::Tensor g = grad * scale;
  const double correction1 = 1 - std::pow(settings.beta1, settings.step);
  const double correction2 = 1 - std::pow(settings.beta2, settings.step);
  param.mul_(1 - settings.lr * settings.weight_decay);
  if (exp_avg.defined()) exp_avg.mul_(settings.beta1).add_(g, 1 - settings.beta1);
  exp_avg_sq.mul_(settings.beta2).addcmul_(g, g, 1 - settings.beta2);
  const at::Tensor moment = exp_avg.defined() ? exp_avg : g;
  const at::Tensor denominator = (exp_avg_sq / correction2).sqrt_().add_(settings.eps);
  param.addcdiv_(moment, denominator, -settings.lr / correction1);
  if (followers.rounded.defined()) followers.rounded.copy_(param);
  if (!followers.average.defined()) return;
  followers.average.lerp_(param, 1 - followers.average_decay);
  if (followers.rounded_average.defined()) followers.rounded_average.copy_(followers.average);
}

}  // namespace vmla::kernels
