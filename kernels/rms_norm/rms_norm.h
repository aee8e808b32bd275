#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace vmla::kernels {

/// y = weight * x / sqrt(mean(x^2 over the last dim) + eps). Statistics in fp32 (fp64 for fp64
/// input), result in x's dtype. x: [..., D], any strides with a dense last dim; weight: [D].
/// Differentiable in both.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

/// Two of them, x [..., D] by `weight` [D] and `other` [..., E] by `other_weight` [E]: in one pass
/// where both are of one dtype and both weights are, else in two. Differentiable in all four;
/// c10::Error where a weight has another width.
std::pair<at::Tensor, at::Tensor> rms_norm_pair(const at::Tensor& x,
                                                const at::Tensor& weight,
                                                const at::Tensor& other,
                                                const at::Tensor& other_weight,
                                                double eps);

/// The definition, in plain ATen operations.
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace vmla::kernels
