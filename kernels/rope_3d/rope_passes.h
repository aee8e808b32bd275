#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/rope_3d/rope_3d.h"

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

}  // namespace vmla::kernels
