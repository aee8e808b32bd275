#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "kernels/modulate/modulate.h"

/// The passes over memory that layer_norm_modulate, residual_norm and gated_residual consist of, in
/// fused code or in ATen's operations, and on the meta device as sizes alone.
namespace vmla::kernels {

/// Those of residual_norm, or, where the update is undefined, of the norm of x itself.
using NormInputs = ResidualNormInputs;
struct Normed {
  at::Tensor sum_BFSD;  // x where there is no update
  at::Tensor y_BFSD;
  at::Tensor mean, rstd;  // [B, F, S, 1], fp32, or fp64 where x is
};
Normed norm_forward(const NormInputs& in);

/// What norm_backward needs of a forward pass; x is the sum that was normalised.
struct SavedNorm {
  at::Tensor x_BFSD, shift_BFD, scale_BFD;
  ScaleIs scale_is;
  at::Tensor mean, rstd;
};
struct NormGradients {
  at::Tensor x_BFSD, shift_BFD, scale_BFD;
};
/// `grad_sum`: what else comes in for x; undefined: nothing.
NormGradients norm_backward(const at::Tensor& grad_y,
                            const at::Tensor& grad_sum,
                            const SavedNorm& saved);

/// Gradients of y and of the gate in x + gate * y.
std::pair<at::Tensor, at::Tensor> gated_backward(const at::Tensor& grad_BFSD,
                                                 const at::Tensor& y_BFSD,
                                                 const at::Tensor& gate_BFD);

/// Throws c10::Error unless each of the rows that is defined has a row for every frame of x.
void check_rows(const char* name, const at::Tensor& x_BFSD, at::TensorList rows_BFD);

}  // namespace vmla::kernels
