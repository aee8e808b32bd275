#include "kernels/rms_norm/rms_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"

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

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& weight,
                            double eps) {
    Normed normed = forward_aten(x, weight, eps);
    ctx->save_for_backward({x, weight, normed.rstd});
    return normed.y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    auto [dx, dw] = backward_aten(grads[0], saved[0], saved[1], saved[2]);
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
  return forward_aten(x, weight, eps).y;
}

}  // namespace vmla::kernels
