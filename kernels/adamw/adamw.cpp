#include "kernels/adamw/adamw.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "kernels/adamw/adamw_cpu.h"
#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/kernel_record.h"

namespace vmla::kernels {
namespace {

/// Whether `t` is a flat buffer of as many elements as `param`, beside it; or nothing.
bool fits(const at::Tensor& t, const at::Tensor& param, at::ScalarType dtype) {
  return !t.defined() || (t.is_contiguous() && t.numel() == param.numel() &&
                          t.scalar_type() == dtype && t.device() == param.device());
}

void check_buffers(const at::Tensor& param,
                   const at::Tensor& grad,
                   const at::Tensor& exp_avg,
                   const at::Tensor& exp_avg_sq,
                   const AdamwFollowers& followers) {
  const at::ScalarType dtype = param.scalar_type();
  bool all = param.is_contiguous() && grad.defined() && exp_avg_sq.defined() &&
             fits(followers.average, param, dtype);
  for (const at::Tensor& other : {grad, exp_avg, exp_avg_sq})
    all = all && fits(other, param, dtype);
  TORCH_CHECK(all,
              "adamw_step_: contiguous buffers of one size, dtype and device expected, param has ",
              param.numel(),
              " elements");
  TORCH_CHECK(fits(followers.rounded, param, at::kBFloat16) &&
                  fits(followers.rounded_average, param, at::kBFloat16),
              "adamw_step_: rounded copies must be in bf16 and otherwise as param, which has ",
              param.numel(),
              " elements");
  TORCH_CHECK(followers.average.defined() || !followers.rounded_average.defined(),
              "adamw_step_: a rounded average without an average");
  TORCH_CHECK(followers.average_decay >= 0 && followers.average_decay < 1,
              "adamw_step_: 0 <= decay < 1 expected, got ",
              followers.average_decay);
}

template <class T>
T* data_or_null(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.mutable_data_ptr()) : nullptr;
}

}  // namespace

void adamw_step_(at::Tensor& param,
                 const at::Tensor& grad,
                 at::Tensor& exp_avg,
                 at::Tensor& exp_avg_sq,
                 const at::Tensor& grad_scale,
                 const AdamwSettings& settings,
                 const AdamwFollowers& followers) {
  check_buffers(param, grad, exp_avg, exp_avg_sq, followers);
  TORCH_CHECK(exp_avg.defined() == (settings.beta1 != 0),
              "adamw_step_: the first moment is kept unless beta1 is 0, beta1 is ",
              settings.beta1);
  TORCH_CHECK(grad_scale.dim() == 0 && grad_scale.device() == param.device(),
              "adamw_step_: grad_scale must be one number where the buffers are, given: ",
              grad_scale.sizes());
  TORCH_CHECK(settings.step >= 1, "adamw_step_: steps count from 1, got ", settings.step);
  RECORD_FUNCTION(kKernelRecord,
                  reading({param,
                           param,
                           grad,
                           exp_avg,
                           exp_avg,
                           exp_avg_sq,
                           exp_avg_sq,
                           followers.rounded,
                           followers.average,
                           followers.average,
                           followers.rounded_average}));
  if (wants_sizes_only(param)) return;
  c10::NoGradGuard no_grad;
  if (param.scalar_type() != at::kFloat || !takes_fused(FusedOp::kAdamw, {param})) {
    adamw_step_reference_(param, grad, exp_avg, exp_avg_sq, grad_scale, settings, followers);
    return;
  }
  // All that does not depend on the element, in fp64, then rounded once.
  const double correction1 = 1 - std::pow(settings.beta1, settings.step);
  const double correction2 = 1 - std::pow(settings.beta2, settings.step);
  const at::Tensor scale = grad_scale.to(at::kFloat);
  const auto f32 = [](double value) { return static_cast<float>(value); };
  const double weight = 1 - followers.average_decay;
  const bool from_param = weight >= 0.5;
  const AdamwParams params{.param = param.mutable_data_ptr<float>(),
                           .grad = grad.const_data_ptr<float>(),
                           .exp_avg = data_or_null<float>(exp_avg),
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
                           .eps = f32(settings.eps),
                           .rounded = data_or_null<void>(followers.rounded),
                           .average = data_or_null<float>(followers.average),
                           .rounded_average = data_or_null<void>(followers.rounded_average),
                           .difference_factor = f32(from_param ? weight - 1 : weight),
                           .average_from_param = from_param};
  run_fused(param, adamw_cpu, &cuda::KernelTable::adamw, params);
}

}  // namespace vmla::kernels
