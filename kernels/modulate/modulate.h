#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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

/// What a scale does to a normalised row h: y = h * (1 + scale) + shift, or, as the learned gain of
/// a LayerNorm, y = h * scale + shift.
enum class ScaleIs : uint8_t { kChange, kGain };

struct ResidualNormInputs {
  at::Tensor x_BFSD;
  at::Tensor update_BFSD;           // in x's dtype or in another
  at::Tensor gate_BFD;              // undefined: 1
  at::Tensor shift_BFD, scale_BFD;  // of one dtype with the gate; may be expanded from fewer rows
  ScaleIs scale_is;
  double eps;
  at::ScalarType dtype;  // of the norm
};
struct ResidualNorm {
  at::Tensor sum_BFSD;   // x + gate * update, in x's dtype
  at::Tensor norm_BFSD;  // of the sum
};
/// A branch's result added to the residual stream, and the LayerNorm that the next branch begins
/// with, in one pass over memory: sum = x + gate * update, norm = LN(sum) with `scale_is`.
/// Differentiable in all five tensors. c10::Error where sizes do not fit x.
ResidualNorm residual_norm(const ResidualNormInputs& in);
/// The definition, in plain ATen operations.
ResidualNorm residual_norm_reference(const ResidualNormInputs& in);

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
