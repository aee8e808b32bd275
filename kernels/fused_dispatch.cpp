#include "kernels/fused_dispatch.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::kernels {

Element element_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Element::kFloat;
    case at::kBFloat16:
      return Element::kBFloat16;
    case at::kDouble:
      return Element::kDouble;
    default:
      TORCH_CHECK(false, "no fused code for ", x.scalar_type());
  }
}

bool takes_fused(at::TensorList tensors, at::TensorList rows) {
  const at::Device device = tensors[0].device();
  const at::ScalarType dtype = tensors[0].scalar_type();
  const bool on_gpu = device.is_cuda() && cuda_kernels() != nullptr;
  const bool known = on_gpu ? dtype == at::kFloat || dtype == at::kBFloat16
                            : device.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble);
  if (!known) return false;
  const auto all_are = [device](at::TensorList list, at::ScalarType wanted) {
    return std::ranges::all_of(list, [&](const at::Tensor& t) {
      return t.device() == device && t.scalar_type() == wanted;
    });
  };
  return all_are(tensors, dtype) && (all_are(rows, dtype) || (on_gpu && all_are(rows, at::kFloat)));
}

}  // namespace vmla::kernels
