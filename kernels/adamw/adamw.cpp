#include "kernels/adamw/adamw.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "kernels/adamw/adamw_cpu.h"
#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"

namespace vmla::kernels {

void adamw_step_(at::Tensor& param,
                 const at::Tensor& grad,
                 at::Tensor& exp_avg,
                 at::Tensor& exp_avg_sq,
                 const at::Tensor& grad_scale,
                 const AdamwSettings& settings) {
  const auto fits = [&](const at::Tensor& t) {
    return t.is_contiguous() && t.numel() == param.numel() &&
           t.scalar_type() == param.scalar_type();
  };
  TORCH_CHECK(
      fits(param) && fits(grad) && fits(exp_avg_sq) && (!exp_avg.defined() || fits(exp_avg)),
      "adamw_step_: contiguous buffers of one size and dtype expected, param has ",
      param.numel(),
      " elements");
  TORCH_CHECK(exp_avg.defined() == (settings.beta1 != 0),
              "adamw_step_: the first moment is kept unless beta1 is 0, beta1 is ",
              settings.beta1);
  TORCH_CHECK(grad_scale.dim() == 0 && grad_scale.device() == param.device(),
              "adamw_step_: grad_scale must be one number where the buffers are, given: ",
              grad_scale.sizes());
  TORCH_CHECK(settings.step >= 1, "adamw_step_: steps count from 1, got ", settings.step);
  if (wants_sizes_only(param)) return;
  c10::NoGradGuard no_grad;
  const bool fused = param.scalar_type() == at::kFloat &&
                     takes_fused(FusedOp::kAdamw, {param, grad, exp_avg_sq}) &&
                     (!exp_avg.defined() || exp_avg.device() == param.device());
  if (!fused) {
    adamw_step_reference_(param, grad, exp_avg, exp_avg_sq, grad_scale, settings);
    return;
  }
  // All that does not depend on the element, in fp64, then rounded once.
  const double correction1 = 1 - std::pow(settings.beta1, settings.step);
  const double correction2 = 1 - std::pow(settings.beta2, settings.step);
  const at::Tensor scale = grad_scale.to(at::kFloat);
  const auto f32 = [](double value) { return static_cast<float>(value); };
  const AdamwParams params{
      .param = param.mutable_data_ptr<float>(),
      .grad = grad.const_data_ptr<float>(),
      .exp_avg = exp_avg.defined() ? exp_avg.mutable_data_ptr<float>() : nullptr,
      .exp_avg_sq = exp_avg_sq.mutable_data_ptr<float>(),
      .count = param.numel(),
      .grad_scale = scale.const_data_ptr<float>(),
      .decay = f32(1 - settings.lr * settings.weight_decay),
      .beta1 = f32(settings.beta1),
      .beta2 = f32(settings.beta2),
      .one_minus_beta1 = f32(1 - settings.beta1),
      .one_minus_beta2 = f32(1 - settings.beta2),
      .step_size = f32(settings.lr / correction1),
      .root_correction = f32(1 / std::sqrt(correction2)),
      .eps = f32(settings.eps)};
  run_fused(param, adamw_cpu, &cuda::KernelTable::adamw, params);
}

}  // namespace vmla::kernels
