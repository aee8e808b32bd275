#include "model/weights/matrix_order.h"

#include <ATen/ATen.h>

namespace vmla::model {

at::Tensor laid_for_passes(const at::Tensor& matrix) {
  const bool is_faster = matrix.dim() == 2 && matrix.is_cpu() && matrix.scalar_type() == at::kFloat;
  return is_faster ? matrix.t().contiguous().t() : matrix;
}

}  // namespace vmla::model
