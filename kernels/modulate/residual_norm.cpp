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

ResidualNorm residual_norm(const ResidualNormInputs& in) {
  check_rows("residual_norm", in.x_BFSD, {in.gate_BFD, in.shift_BFD, in.scale_BFD});
  TORCH_CHECK(in.update_BFSD.sizes() == in.x_BFSD.sizes(),
              "residual_norm: an update of x's sizes expected, ",
              in.x_BFSD.sizes(),
              ", got ",
              in.update_BFSD.sizes());
  if (wants_gradient(in.x_BFSD, in.update_BFSD, in.gate_BFD, in.shift_BFD, in.scale_BFD)) {
    // Autograd takes no undefined tensor.
    const std::optional<at::Tensor> gate =
        in.gate_BFD.defined() ? std::optional(in.gate_BFD) : std::nullopt;
    const variable_list out = ResidualNormFunction::apply(in.x_BFSD,
                                                          in.update_BFSD,
                                                          gate,
                                                          in.shift_BFD,
                                                          in.scale_BFD,
                                                          static_cast<int64_t>(in.scale_is),
                                                          in.eps,
                                                          in.dtype);
    return {out[0], out[1]};
  }
  Normed out = norm_forward(in);
  return {out.sum_BFSD, out.y_BFSD};
}

}  // namespace vmla::kernels
