#pragma once

#include "kernels/rope_3d/rope_3d_params.h"

namespace vmla::kernels {

/// One pass over memory; a token's angles are laid out for all heads once and used for the whole
/// batch. Everything holds fp32 or everything fp64.
void rope_cpu(const RopeParams& params);

}  // namespace vmla::kernels
