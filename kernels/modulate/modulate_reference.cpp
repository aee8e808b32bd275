#include <ATen/ATen.h>

#include "kernels/dispatch.h"
#include "kernels/modulate/modulate.h"

namespace vmla::kernels {

namespace {

at::Tensor layer_norm(const at::Tensor& x_BFSD,
                      const at::Tensor& shift_BFD,
                      const at::Tensor& scale_BFD,
                      ScaleIs scale_is,
                      double eps,
                      at::ScalarType dtype) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  const at::Tensor x = x_BFSD.to(acc);
  const at::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor rstd = at::rsqrt(centred.square().mean(-1, /*keepdim=*/true) + eps);
  const at::Tensor scale = scale_BFD.to(acc) + (scale_is == ScaleIs::kChange ? 1 : 0);
  return (centred * rstd * scale.unsqueeze(2) + shift_BFD.to(acc).unsqueeze(2)).to(dtype);
}

}  // namespace

at::Tensor layer_norm_modulate_reference(const at::Tensor& x_BFSD,
                                         const at::Tensor& shift_BFD,
                                         const at::Tensor& scale_BFD,
                                         double eps) {
  return layer_norm(x_BFSD, shift_BFD, scale_BFD, ScaleIs::kChange, eps, x_BFSD.scalar_type());
}

ResidualNorm residual_norm_reference(const ResidualNormInputs& in) {
  const at::Tensor gate = in.gate_BFD.defined() ? in.gate_BFD : at::ones_like(in.shift_BFD);
  const at::Tensor sum = gated_residual_reference(in.x_BFSD, in.update_BFSD, gate);
  return {sum, layer_norm(sum, in.shift_BFD, in.scale_BFD, in.scale_is, in.eps, in.dtype)};
}

at::Tensor gated_residual_reference(const at::Tensor& x_BFSD,
                                    const at::Tensor& y_BFSD,
                                    const at::Tensor& gate_BFD) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  return (x_BFSD.to(acc) + gate_BFD.to(acc).unsqueeze(2) * y_BFSD.to(acc)).to(x_BFSD.scalar_type());
}

}  // namespace vmla::kernels
