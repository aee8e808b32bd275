#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// LayerNorm without parameters, then adaptive modulation per frame (Wan2.1, docs/algorithms.md
/// 2.6): y = LN(x) * (1 + scale) + shift. x: [B, F, S, D]; shift, scale: [B, F, D]. Biased
/// variance, statistics in fp32 (fp64 for fp64). Differentiable in all three.
at::Tensor layer_norm_modulate(const at::Tensor& x_BFSD,
                               const at::Tensor& shift_BFD,
                               const at::Tensor& scale_BFD,
                               double eps);
/// The definition, in plain ATen operations.
at::Tensor layer_norm_modulate_reference(const at::Tensor& x_BFSD,
                                         const at::Tensor& shift_BFD,
                                         const at::Tensor& scale_BFD,
                                         double eps);

/// x + gate * y, the gated residual of a block. x, y: [B, F, S, D]; gate: [B, F, D]. Differentiable
/// in all three.
at::Tensor gated_residual(const at::Tensor& x_BFSD,
                          const at::Tensor& y_BFSD,
                          const at::Tensor& gate_BFD);
/// The definition, in plain ATen operations.
at::Tensor gated_residual_reference(const at::Tensor& x_BFSD,
                                    const at::Tensor& y_BFSD,
                                    const at::Tensor& gate_BFD);

}  // namespace vmla::kernels
