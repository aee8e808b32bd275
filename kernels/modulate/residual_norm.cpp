#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/dispatch.h"
#include "kernels/modulate/passes.h"

namespace vmla::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ResidualNormFunction : torch::autograd::Function<ResidualNormFunction> {
  static variable_list forward(AutogradContext* ctx,
                               const at::Tensor& x,
                               const at::Tensor& update,
                               const std::optional<at::Tensor>& given_gate,
                               const at::Tensor& shift,
                               const at::Tensor& scale,
                               int64_t scale_is,
                               double eps,
                               at::ScalarType dtype) {
    const at::Tensor gate = given_gate.value_or(at::Tensor());
    const Normed out =
        norm_forward({x, update, gate, shift, scale, static_cast<ScaleIs>(scale_is), eps, dtype});
    // Without a gate the update's gradient is the sum's, and the update is not needed.
    ctx->save_for_backward({out.sum_BFSD,
                            gate.defined() ? update : at::Tensor(),
                            gate,
                            shift,
                            scale,
                            out.mean,
                            out.rstd});
    ctx->saved_data["scale_is"] = scale_is;
    ctx->saved_data["update_dtype"] = update.scalar_type();
    return {out.sum_BFSD, out.y_BFSD};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    const at::Tensor &sum = s[0], &update = s[1], &gate = s[2];
    const auto scale_is = static_cast<ScaleIs>(ctx->saved_data["scale_is"].toInt());
    const NormGradients d =
        norm_backward(grads[1], grads[0], {sum, s[3], s[4], scale_is, s[5], s[6]});
    at::Tensor dupdate, dgate;
    if (gate.defined()) {
      std::tie(dupdate, dgate) = gated_backward(d.x_BFSD, update, gate);
    } else {
      dupdate = d.x_BFSD.to(ctx->saved_data["update_dtype"].toScalarType());
    }
    return {d.x_BFSD, dupdate, dgate, d.shift_BFD, d.scale_BFD, {}, {}, {}};
  }
};

}  // namespace

ResidualNorm residual_norm(const at::Tensor& x_BFSD,
                           const at::Tensor& update_BFSD,
                           const at::Tensor& gate_BFD,
                           const at::Tensor& shift_BFD,
                           const at::Tensor& scale_BFD,
                           ScaleIs scale_is,
                           double eps,
                           at::ScalarType dtype) {
  check_rows("residual_norm", x_BFSD, {gate_BFD, shift_BFD, scale_BFD});
  TORCH_CHECK(update_BFSD.sizes() == x_BFSD.sizes(),
              "residual_norm: an update of x's sizes expected, ",
              x_BFSD.sizes(),
              ", got ",
              update_BFSD.sizes());
  if (wants_gradient(x_BFSD, update_BFSD, gate_BFD, shift_BFD, scale_BFD)) {
    // Autograd takes no undefined tensor.
    const std::optional<at::Tensor> gate =
        gate_BFD.defined() ? std::optional(gate_BFD) : std::nullopt;
    const variable_list out = ResidualNormFunction::apply(x_BFSD,
                                                          update_BFSD,
                                                          gate,
                                                          shift_BFD,
                                                          scale_BFD,
                                                          static_cast<int64_t>(scale_is),
                                                          eps,
                                                          dtype);
    return {out[0], out[1]};
  }
  Normed out =
      norm_forward({x_BFSD, update_BFSD, gate_BFD, shift_BFD, scale_BFD, scale_is, eps, dtype});
  return {out.sum_BFSD, out.y_BFSD};
}

}  // namespace vmla::kernels
