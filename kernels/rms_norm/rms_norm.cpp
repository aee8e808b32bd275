#include "kernels/rms_norm/rms_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/fused_dispatch.h"
#include "kernels/rms_norm/rms_norm_cpu.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Normed {
  at::Tensor y;
  at::Tensor rstd;  // [..., 1], accumulate type: 1 / sqrt(mean(x^2) + eps)
};

Normed forward_aten(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor x_acc = x.to(accumulate_type(x));
  const at::Tensor rstd = x_acc.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  return {x_acc.mul(rstd).mul_(weight).to(x.scalar_type()), rstd};
}

Normed forward_fused(const at::Tensor& x_any, const at::Tensor& weight_any, double eps) {
  const at::Tensor x = dense_rows(x_any);
  const at::Tensor weight = weight_any.contiguous();
  const at::Tensor y = at::empty(x_any.sizes(), x.options());
  const at::Tensor rstd = at::empty({x.size(0)}, x.options().dtype(accumulate_type(x)));
  run_fused(x,
            rms_norm_cpu,
            &cuda::KernelTable::rms_norm,
            {.element = element_of(x),
             .weight_element = element_of(weight),
             .x = x.const_data_ptr(),
             .x_stride = x.stride(0),
             .weight = weight.const_data_ptr(),
             .y = y.mutable_data_ptr(),
             .rstd = rstd.mutable_data_ptr(),
             .rows = x.size(0),
             .D = x.size(1),
             .eps = eps});
  return {y, rstd.view(x_any.sizes().slice(0, x_any.dim() - 1)).unsqueeze(-1)};
}

Normed forward_any(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (wants_sizes_only(x)) {
    std::vector<int64_t> rows = x.sizes().vec();
    rows.back() = 1;
    return {at::empty(x.sizes(), x.options()),
            at::empty(rows, x.options().dtype(accumulate_type(x)))};
  }
  return takes_fused(FusedOp::kRmsNorm, {x}, {weight}) ? forward_fused(x, weight, eps)
                                                       : forward_aten(x, weight, eps);
}

// With h = x * rstd and g = dy * w: dx = rstd * (g - h * mean(g * h)), dw = sum over rows of dy *
// h.
std::pair<at::Tensor, at::Tensor> backward_aten(const at::Tensor& grad_y,
                                                const at::Tensor& x,
                                                const at::Tensor& weight,
                                                const at::Tensor& rstd) {
  const at::ScalarType acc = accumulate_type(x);
  const int64_t D = x.size(-1);
  const at::Tensor dy = grad_y.to(acc);
  const at::Tensor h = x.to(acc) * rstd;
  const at::Tensor g = dy * weight.to(acc);
  const at::Tensor dx = (g - h * (g * h).mean(-1, /*keepdim=*/true)).mul_(rstd);
  const at::Tensor dw = (dy * h).reshape({-1, D}).sum(0);
  return {dx.to(x.scalar_type()), dw.to(weight.scalar_type())};
}

std::pair<at::Tensor, at::Tensor> backward_fused(const at::Tensor& grad_any,
                                                 const at::Tensor& x_any,
                                                 const at::Tensor& weight_any,
                                                 const at::Tensor& rstd_any) {
  const at::Tensor grad = dense_rows(grad_any);
  const at::Tensor x = dense_rows(x_any);
  const at::Tensor weight = weight_any.contiguous();
  const at::Tensor rstd = rstd_any.contiguous();
  const at::Tensor dx = at::empty(x_any.sizes(), x.options());
  const at::Tensor dw = at::empty(weight.sizes(), weight.options());
  const at::Tensor sums = at::empty({token_chunks(x.size(0)), x.size(1)}, rstd.options());
  run_fused(x,
            rms_norm_backward_cpu,
            &cuda::KernelTable::rms_norm_backward,
            {.element = element_of(x),
             .weight_element = element_of(weight),
             .grad_y = grad.const_data_ptr(),
             .grad_y_stride = grad.stride(0),
             .x = x.const_data_ptr(),
             .x_stride = x.stride(0),
             .weight = weight.const_data_ptr(),
             .rstd = rstd.const_data_ptr(),
             .grad_x = dx.mutable_data_ptr(),
             .grad_weight = dw.mutable_data_ptr(),
             .partial_sums = sums.mutable_data_ptr(),
             .rows = x.size(0),
             .D = x.size(1)});
  return {dx, dw};
}

std::pair<at::Tensor, at::Tensor> backward_any(const at::Tensor& grad_y,
                                               const at::Tensor& x,
                                               const at::Tensor& weight,
                                               const at::Tensor& rstd) {
  if (wants_sizes_only(x)) {
    return {at::empty(x.sizes(), x.options()), at::empty(weight.sizes(), weight.options())};
  }
  return takes_fused(FusedOp::kRmsNorm, {x, grad_y}, {weight})
             ? backward_fused(grad_y, x, weight, rstd)
             : backward_aten(grad_y, x, weight, rstd);
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& weight,
                            double eps) {
    Normed normed = forward_any(x, weight, eps);
    ctx->save_for_backward({x, weight, normed.rstd});
    return normed.y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    auto [dx, dw] = backward_any(grads[0], saved[0], saved[1], saved[2]);
    return {dx, dw, at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1),
              "rms_norm: x [..., D] and weight [D] expected, got ",
              x.sizes(),
              " and ",
              weight.sizes());
  if (wants_gradient(x, weight)) return RmsNorm::apply(x, weight, eps);
  return forward_any(x, weight, eps).y;
}

}  // namespace vmla::kernels
