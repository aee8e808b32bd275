#include <ATen/ATen.h>

#include "kernels/dispatch.h"
#include "kernels/gelu/gelu.h"

namespace vmla::kernels {

at::Tensor gelu_tanh_reference(const at::Tensor& x) {
  const at::Tensor x_acc = x.to(accumulate_type(x));
  const double c = 0.79788456080286535588;  // sqrt(2 / pi)
  const at::Tensor u = (x_acc + 0.044715 * x_acc.pow(3)) * c;
  return (0.5 * x_acc * (1 + u.tanh())).to(x.scalar_type());
}

}  // namespace vmla::kernels
