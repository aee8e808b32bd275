#pragma once

#include "kernels/rope_3d/rope_3d_params.h"

namespace vmla::kernels {

/// One pass over memory. A token's angles are laid out for several heads side by side once, and
/// used for the whole batch. All buffers hold fp32 or all hold fp64.
void rope_cpu(const RopeParams& params);

/// The same of the queries, and the rows of latents one after another.
void rope_latents_cpu(const RopeLatentsParams& params);

}  // namespace vmla::kernels
