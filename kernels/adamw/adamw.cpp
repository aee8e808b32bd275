#include "kernels/adamw/adamw.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace vmla::kernels {

void adamw_step_(at::Tensor& param,
                 const at::Tensor& grad,
                 at::Tensor& exp_avg,
                 at::Tensor& exp_avg_sq,
                 const AdamwParams& params) {
  const auto fits = [&](const at::Tensor& t) {
    return t.is_contiguous() && t.numel() == param.numel() &&
           t.scalar_type() == param.scalar_type();
  };
  TORCH_CHECK(
      fits(param) && fits(grad) && fits(exp_avg_sq) && (!exp_avg.defined() || fits(exp_avg)),
      "adamw_step_: contiguous buffers of one size and dtype expected, param has ",
      param.numel(),
      " elements");
  TORCH_CHECK(exp_avg.defined() == (params.beta1 != 0),
              "adamw_step_: the first moment is kept unless beta1 is 0, beta1 is ",
              params.beta1);
  TORCH_CHECK(params.step >= 1, "adamw_step_: steps count from 1, got ", params.step);
  c10::NoGradGuard no_grad;
  adamw_step_reference_(param, grad, exp_avg, exp_avg_sq, params);
}

}  // namespace vmla::kernels
