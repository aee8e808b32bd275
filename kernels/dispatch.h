#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>

namespace vmla::kernels {

/// The dtype in which an op on `x` forms statistics and sums: fp64 for fp64, else fp32.
inline at::ScalarType accumulate_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Whether autograd must record a call. If not, an op runs its forward without the autograd
/// Function around it. The code is the same, so values do not depend on the answer.
template <class... Tensors>
bool wants_gradient(const Tensors&... inputs) {
  return c10::GradMode::is_enabled() && (inputs.requires_grad() || ...);
}

/// Whether only sizes are wanted: tensors of the meta device have no data. The planner runs a step
/// over such tensors to learn how much memory a real one allocates. An op must then return outputs
/// of the sizes and dtypes that its fused code makes, and compute nothing.
inline bool wants_sizes_only(const at::Tensor& x) {
  return x.is_meta();
}

/// x with a dense last dim: itself, or a copy where the stride is another.
inline at::Tensor dense_channels(const at::Tensor& x) {
  return x.size(-1) <= 1 || x.stride(-1) == 1 ? x : x.contiguous();
}

/// [..., D] as [rows, D] with one row stride and dense rows; a view where the strides allow.
inline at::Tensor dense_rows(const at::Tensor& x) {
  return dense_channels(x.dim() == 1 ? x.unsqueeze(0) : x.flatten(0, -2));
}

/// [B, F, S, D] as [frames, S, D] with dense channels; a view where the strides allow.
inline at::Tensor dense_frames(const at::Tensor& x_BFSD) {
  return dense_channels(x_BFSD.flatten(0, 1));
}

}  // namespace vmla::kernels
