#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace vmla::kernels {

/// LayerNorm without parameters, then adaptive modulation per frame (Wan2.1, docs/algorithms.md
/// 2.6): y = LN(x) * (1 + scale) + shift. x: [B, F, S, D]; shift, scale: [B, F, D]. Biased
/// variance, statistics in fp32 (fp64 for fp64). y in `dtype`, by default x's. Differentiable in
/// all three.
at::Tensor layer_norm_modulate(const at::Tensor& x_BFSD,
                               const at::Tensor& shift_BFD,
                               const at::Tensor& scale_BFD,
                               double eps,
                               std::optional<at::ScalarType> dtype = {});
/// The definition, in plain ATen operations.
at::Tensor layer_norm_modulate_reference(const at::Tensor& x_BFSD,
                                         const at::Tensor& shift_BFD,
                                         const at::Tensor& scale_BFD,
                                         double eps);

/// x + gate * y, the gated residual of a block. x, y: [B, F, S, D]; gate: [B, F, D]. In x's dtype;
/// y may be in another, as what bf16 products add to a sum in fp32. Differentiable in all three.
at::Tensor gated_residual(const at::Tensor& x_BFSD,
                          const at::Tensor& y_BFSD,
                          const at::Tensor& gate_BFD);
/// The definition, in plain ATen operations.
at::Tensor gated_residual_reference(const at::Tensor& x_BFSD,
                                    const at::Tensor& y_BFSD,
                                    const at::Tensor& gate_BFD);

}  // namespace vmla::kernels
