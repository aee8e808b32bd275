#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>

namespace vmla::kernels {

/// The dtype in which an op on `x` forms statistics and sums: fp64 for fp64, else fp32.
inline at::ScalarType accumulate_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Whether a call must be recorded by autograd. When not, an op runs its forward without the
/// Function around it: the same code, so the values do not depend on the answer.
template <class... Tensors>
bool wants_gradient(const Tensors&... inputs) {
  return c10::GradMode::is_enabled() && (inputs.requires_grad() || ...);
}

}  // namespace vmla::kernels
