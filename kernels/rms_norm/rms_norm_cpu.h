#pragma once

#include "kernels/rms_norm/rms_norm_params.h"

namespace vmla::kernels {

/// One pass over memory each; everything holds fp32 or everything fp64.
void rms_norm_cpu(const RmsNormParams& params);
void rms_norm_backward_cpu(const RmsNormBackwardParams& params);

}  // namespace vmla::kernels
