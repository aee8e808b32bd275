#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <utility>

namespace vmla::kernels {

/// By the CUDA module; cuda_dispatch.h says which calls it takes. y, and mean and rstd [B, F, S, 1]
/// in fp32.
std::array<at::Tensor, 3> layer_norm_modulate_cuda(const at::Tensor& x_BFSD,
                                                   const at::Tensor& shift_BFD,
                                                   const at::Tensor& scale_BFD,
                                                   double eps);
/// The gradients of x, shift and scale.
std::array<at::Tensor, 3> layer_norm_modulate_backward_cuda(const at::Tensor& grad_y,
                                                            const at::Tensor& x_BFSD,
                                                            const at::Tensor& scale_BFD,
                                                            const at::Tensor& mean,
                                                            const at::Tensor& rstd);

at::Tensor gated_residual_cuda(const at::Tensor& x_BFSD,
                               const at::Tensor& y_BFSD,
                               const at::Tensor& gate_BFD);
/// The gradients of y and gate.
std::pair<at::Tensor, at::Tensor> gated_residual_backward_cuda(const at::Tensor& grad_BFSD,
                                                               const at::Tensor& y_BFSD,
                                                               const at::Tensor& gate_BFD);

}  // namespace vmla::kernels
