#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace vmla::kernels {

/// y = weight * x / sqrt(mean(x^2 over the last dim) + eps). Statistics in fp32 (fp64 for fp64
/// input), result in x's dtype. x: [..., D], any strides with a dense last dim; weight: [D].
/// Differentiable in both.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

/// Two of them in one pass, of rows of two widths: that of x by `weight`, and that of `other` by
/// `other_weight`. Both in one dtype, and both weights.
std::pair<at::Tensor, at::Tensor> rms_norm_pair(const at::Tensor& x,
                                                const at::Tensor& weight,
                                                const at::Tensor& other,
                                                const at::Tensor& other_weight,
                                                double eps);

/// The definition, in plain ATen operations.
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace vmla::kernels
