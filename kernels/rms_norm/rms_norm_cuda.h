#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace vmla::kernels {

/// y and rstd [..., 1] in fp32, by the CUDA module; cuda_dispatch.h says which calls it takes.
std::pair<at::Tensor, at::Tensor> rms_norm_cuda(const at::Tensor& x,
                                                const at::Tensor& weight,
                                                double eps);
/// The gradients of x and weight.
std::pair<at::Tensor, at::Tensor> rms_norm_backward_cuda(const at::Tensor& grad_y,
                                                         const at::Tensor& x,
                                                         const at::Tensor& weight,
                                                         const at::Tensor& rstd);

}  // namespace vmla::kernels
