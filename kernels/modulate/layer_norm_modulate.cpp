#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/modulate/modulate.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Modulated {
  at::Tensor y;
  at::Tensor mean, rstd;  // [B, F, S, 1], accumulate type
};

Modulated forward_aten(const at::Tensor& x_BFSD,
                       const at::Tensor& shift_BFD,
                       const at::Tensor& scale_BFD,
                       double eps) {
  const at::Tensor x = x_BFSD.to(accumulate_type(x_BFSD));
  const at::Tensor mean = x.mean(-1, /*keepdim=*/true);
  const at::Tensor centred = x - mean;
  const at::Tensor rstd = centred.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  const at::Tensor y =
      (centred * rstd).mul_((scale_BFD + 1).unsqueeze(2)).add_(shift_BFD.unsqueeze(2));
  return {y.to(x_BFSD.scalar_type()), mean, rstd};
}

struct ModulatedGrads {
  at::Tensor x, shift, scale;
};

// With h = (x - mean) * rstd and g = dy * (1 + scale): dx = rstd * (g - mean(g) - h * mean(g * h)),
// dshift = sum over a frame's tokens of dy, dscale = the same sum of dy * h.
ModulatedGrads backward_aten(const at::Tensor& grad_y,
                             const at::Tensor& x_BFSD,
                             const at::Tensor& shift_BFD,
                             const at::Tensor& scale_BFD,
                             const at::Tensor& mean,
                             const at::Tensor& rstd) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  const at::Tensor dy = grad_y.to(acc);
  const at::Tensor h = (x_BFSD.to(acc) - mean).mul_(rstd);
  const at::Tensor g = dy * (scale_BFD.to(acc) + 1).unsqueeze(2);
  const at::Tensor dx =
      (g - g.mean(-1, /*keepdim=*/true) - h * (g * h).mean(-1, /*keepdim=*/true)).mul_(rstd);
  return {dx.to(x_BFSD.scalar_type()),
          dy.sum(2).to(shift_BFD.scalar_type()),
          (dy * h).sum(2).to(scale_BFD.scalar_type())};
}

struct LayerNormModulate : torch::autograd::Function<LayerNormModulate> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& shift,
                            const at::Tensor& scale,
                            double eps) {
    Modulated out = forward_aten(x, shift, scale, eps);
    ctx->save_for_backward({x, shift, scale, out.mean, out.rstd});
    return out.y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    ModulatedGrads d = backward_aten(grads[0], s[0], s[1], s[2], s[3], s[4]);
    return {d.x, d.shift, d.scale, at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm_modulate(const at::Tensor& x_BFSD,
                               const at::Tensor& shift_BFD,
                               const at::Tensor& scale_BFD,
                               double eps) {
  TORCH_CHECK(
      x_BFSD.dim() == 4, "layer_norm_modulate: x [B, F, S, D] expected, got ", x_BFSD.sizes());
  const std::array<int64_t, 3> sizes_BFD{x_BFSD.size(0), x_BFSD.size(1), x_BFSD.size(3)};
  TORCH_CHECK(shift_BFD.sizes() == sizes_BFD && scale_BFD.sizes() == sizes_BFD,
              "layer_norm_modulate: shift and scale [B, F, D] expected for x ",
              x_BFSD.sizes(),
              ", got ",
              shift_BFD.sizes(),
              " and ",
              scale_BFD.sizes());
  if (wants_gradient(x_BFSD, shift_BFD, scale_BFD)) {
    return LayerNormModulate::apply(x_BFSD, shift_BFD, scale_BFD, eps);
  }
  return forward_aten(x_BFSD, shift_BFD, scale_BFD, eps).y;
}

}  // namespace vmla::kernels
