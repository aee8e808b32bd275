#include <ATen/ATen.h>

#include "kernels/dispatch.h"
#include "kernels/rms_norm/rms_norm.h"

namespace vmla::kernels {

at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::ScalarType acc = accumulate_type(x);
  const at::Tensor x_acc = x.to(acc);
  const at::Tensor rstd = at::rsqrt(x_acc.square().mean(-1, /*keepdim=*/true) + eps);
  return (x_acc * rstd * weight.to(acc)).to(x.scalar_type());
}

}  // namespace vmla::kernels
