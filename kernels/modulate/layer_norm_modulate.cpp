#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/modulate/passes.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LayerNormModulate : torch::autograd::Function<LayerNormModulate> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& shift,
                            const at::Tensor& scale,
                            double eps,
                            at::ScalarType dtype) {
    Normed out = norm_forward({x, {}, {}, shift, scale, ScaleIs::kChange, eps, dtype});
    ctx->save_for_backward({x, shift, scale, out.mean, out.rstd});
    return out.y_BFSD;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    NormGradients d = norm_backward(grads[0], {}, {s[0], s[1], s[2], ScaleIs::kChange, s[3], s[4]});
    return {d.x_BFSD, d.shift_BFD, d.scale_BFD, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm_modulate(const at::Tensor& x_BFSD,
                               const at::Tensor& shift_BFD,
                               const at::Tensor& scale_BFD,
                               double eps,
                               std::optional<at::ScalarType> dtype) {
  check_rows("layer_norm_modulate", x_BFSD, {shift_BFD, scale_BFD});
  const at::ScalarType of_y = dtype.value_or(x_BFSD.scalar_type());
  if (wants_gradient(x_BFSD, shift_BFD, scale_BFD)) {
    return LayerNormModulate::apply(x_BFSD, shift_BFD, scale_BFD, eps, of_y);
  }
  return norm_forward({x_BFSD, {}, {}, shift_BFD, scale_BFD, ScaleIs::kChange, eps, of_y}).y_BFSD;
}

}  // namespace vmla::kernels
