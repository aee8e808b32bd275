#pragma once

#include "kernels/rms_norm/rms_norm_params.h"

namespace vmla::kernels {

/// One pass over memory each. All buffers hold fp32 or all hold fp64.
void rms_norm_cpu(const RmsNormParams& params);
void rms_norm_backward_cpu(const RmsNormBackwardParams& params);

}  // namespace vmla::kernels
