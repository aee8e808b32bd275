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

const cuda::KernelTable* kernels_for(const at::Tensor& x) {
  if (x.is_cuda()) return cuda_kernels();
  const bool known = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  return x.is_cpu() && known ? cpu_test_kernels() : nullptr;
}

bool takes_fused(FusedOp op, at::TensorList tensors, at::TensorList rows) {
  const at::Device device = tensors[0].device();
  const at::ScalarType dtype = tensors[0].scalar_type();
  const bool on_gpu = kernels_for(tensors[0]) != nullptr;
  const KernelUse use = kernel_use(op);
  if (use == KernelUse::kReference) return false;
  if (on_gpu && use == KernelUse::kAuto && is_switched_off(op)) return false;
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

bool takes_fused(FusedOp op, at::TensorList tensors, at::ScalarType other, at::TensorList rows) {
  if (!takes_fused(op, tensors, rows)) return false;
  const at::ScalarType dtype = tensors[0].scalar_type();
  if (other == dtype) return true;
  return kernels_for(tensors[0]) != nullptr && dtype == at::kFloat && other == at::kBFloat16;
}

}  // namespace vmla::kernels
