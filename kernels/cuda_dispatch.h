#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/cuda/element.h"
#include "kernels/cuda_module.h"

namespace vmla::kernels {

inline bool is_cuda_element(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16;
}
inline cuda::Element cuda_element(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? cuda::Element::kBFloat16 : cuda::Element::kFloat;
}

/// Whether the module's kernels take `x`: they are loaded, and x holds fp32 or bf16 on a GPU.
inline bool takes_cuda_kernels(const at::Tensor& x) {
  return cuda_kernels() != nullptr && x.is_cuda() && is_cuda_element(x.scalar_type());
}

/// The same of `x` together with `others` of x's dtype and device.
template <class... Tensors>
bool takes_cuda_kernels(const at::Tensor& x, const Tensors&... others) {
  return takes_cuda_kernels(x) &&
         ((others.device() == x.device() && others.scalar_type() == x.scalar_type()) && ...);
}

/// Whether weights or modulation fit beside `x`: all of one dtype, fp32 or x's, on x's device.
template <class... Tensors>
bool fits_beside(const at::Tensor& x, const at::Tensor& weight, const Tensors&... others) {
  const at::ScalarType dtype = weight.scalar_type();
  return (dtype == at::kFloat || dtype == x.scalar_type()) && weight.device() == x.device() &&
         ((others.device() == x.device() && others.scalar_type() == dtype) && ...);
}

}  // namespace vmla::kernels
