#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// GELU in its tanh approximation, as Wan2.1's feed-forward network uses it. Differentiable.
at::Tensor gelu_tanh(const at::Tensor& x);
at::Tensor gelu_tanh_reference(const at::Tensor& x);

}  // namespace vmla::kernels
