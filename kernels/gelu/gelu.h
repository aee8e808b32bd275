#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// GELU in its tanh approximation, as Wan2.1's feed-forward network uses it
/// (docs/algorithms.md 2.6). Any shape; the result has x's dtype. Differentiable.
at::Tensor gelu_tanh(const at::Tensor& x);
/// The definition, in plain ATen operations.
at::Tensor gelu_tanh_reference(const at::Tensor& x);

}  // namespace vmla::kernels
