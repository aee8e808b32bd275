#include <ATen/ATen.h>

#include "kernels/dispatch.h"
#include "kernels/modulate/modulate.h"

namespace vmla::kernels {

at::Tensor layer_norm_modulate_reference(const at::Tensor& x_BFSD,
                                         const at::Tensor& shift_BFD,
                                         const at::Tensor& scale_BFD,
                                         double eps) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  const at::Tensor x = x_BFSD.to(acc);
  const at::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor rstd = at::rsqrt(centred.square().mean(-1, /*keepdim=*/true) + eps);
  const at::Tensor y =
      centred * rstd * (scale_BFD.to(acc).unsqueeze(2) + 1) + shift_BFD.to(acc).unsqueeze(2);
  return y.to(x_BFSD.scalar_type());
}

at::Tensor gated_residual_reference(const at::Tensor& x_BFSD,
                                    const at::Tensor& y_BFSD,
                                    const at::Tensor& gate_BFD) {
  const at::ScalarType acc = accumulate_type(x_BFSD);
  return (x_BFSD.to(acc) + gate_BFD.to(acc).unsqueeze(2) * y_BFSD.to(acc)).to(x_BFSD.scalar_type());
}

}  // namespace vmla::kernels
