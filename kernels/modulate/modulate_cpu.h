#pragma once

#include "kernels/modulate/modulate_params.h"

namespace vmla::kernels {

/// One pass over memory each, frame after frame. All buffers hold fp32 or all hold fp64, and sums
/// are formed in that dtype.
void layer_norm_modulate_cpu(const LayerNormModulateParams& params);
void layer_norm_modulate_backward_cpu(const LayerNormModulateBackwardParams& params);
void gated_residual_cpu(const GatedResidualParams& params);
void gated_residual_backward_cpu(const GatedResidualBackwardParams& params);

}  // namespace vmla::kernels
