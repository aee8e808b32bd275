#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/rope_3d/rope_3d.h"
#include "kernels/rope_3d/rope_3d_params.h"

/// What apply_rope and rope_latents have in common.
namespace vmla::kernels {

/// Throws c10::Error, which begins with `name`, unless the table and the rotated channels fit x [B,
/// L, N, K].
void check_rope(const char* name,
                const at::Tensor& x_BLNK,
                const RopeTable& table,
                int64_t first_channel);

/// The gradient of a rotation: back by the table's angles, for its transpose is the rotation by
/// -angle.
at::Tensor rope_gradient(const at::Tensor& grad_BLNK,
                         const RopeTable& table,
                         int64_t first_channel);

/// Whether fused code takes `tensors` with these tables, cosines and sines.
bool takes_rope(at::TensorList tensors, at::TensorList tables);

/// The rotation of x [B, L, N, K], which has dense channels, by a contiguous table into y.
RopeParams rope_params(const at::Tensor& x_BLNK,
                       const RopeTable& table,
                       const at::Tensor& y_BLNK,
                       int64_t first_channel,
                       bool inverse);

}  // namespace vmla::kernels
