#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/modulate/modulate.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor forward_aten(const at::Tensor& x_BFSD,
                        const at::Tensor& y_BFSD,
                        const at::Tensor& gate_BFD) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  return at::addcmul(x_BFSD.to(acc), y_BFSD.to(acc), gate_BFD.to(acc).unsqueeze(2))
      .to(x_BFSD.scalar_type());
}

// The gradient of x is the incoming one. dy = gate * g; dgate = sum over a frame's tokens of g * y.
std::pair<at::Tensor, at::Tensor> backward_aten(const at::Tensor& grad,
                                                const at::Tensor& y_BFSD,
                                                const at::Tensor& gate_BFD) {
  const at::ScalarType acc = accumulate_type(grad);
  const at::Tensor g = grad.to(acc);
  const at::Tensor dy = g * gate_BFD.to(acc).unsqueeze(2);
  const at::Tensor dgate = (g * y_BFSD.to(acc)).sum(2);
  return {dy.to(y_BFSD.scalar_type()), dgate.to(gate_BFD.scalar_type())};
}

struct GatedResidual : torch::autograd::Function<GatedResidual> {
  static at::Tensor forward(AutogradContext* ctx,
                            const at::Tensor& x,
                            const at::Tensor& y,
                            const at::Tensor& gate) {
    ctx->save_for_backward({y, gate});
    return forward_aten(x, y, gate);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    auto [dy, dgate] = backward_aten(grads[0], saved[0], saved[1]);
    return {grads[0], dy, dgate};
  }
};

}  // namespace

at::Tensor gated_residual(const at::Tensor& x_BFSD,
                          const at::Tensor& y_BFSD,
                          const at::Tensor& gate_BFD) {
  TORCH_CHECK(x_BFSD.dim() == 4 && y_BFSD.sizes() == x_BFSD.sizes(),
              "gated_residual: x and y [B, F, S, D] expected, got ",
              x_BFSD.sizes(),
              " and ",
              y_BFSD.sizes());
  const std::array<int64_t, 3> sizes_BFD{x_BFSD.size(0), x_BFSD.size(1), x_BFSD.size(3)};
  TORCH_CHECK(gate_BFD.sizes() == sizes_BFD,
              "gated_residual: gate [B, F, D] expected for x ",
              x_BFSD.sizes(),
              ", got ",
              gate_BFD.sizes());
  if (wants_gradient(x_BFSD, y_BFSD, gate_BFD)) {
    return GatedResidual::apply(x_BFSD, y_BFSD, gate_BFD);
  }
  return forward_aten(x_BFSD, y_BFSD, gate_BFD);
}

}  // namespace vmla::kernels
