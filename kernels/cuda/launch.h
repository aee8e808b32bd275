#pragma once

#include "kernels/adamw/adamw_params.h"
#include "kernels/attention/merge_part_params.h"
#include "kernels/gelu/gelu_params.h"
#include "kernels/modulate/modulate_params.h"
#include "kernels/rms_norm/rms_norm_params.h"
#include "kernels/rope_3d/rope_3d_params.h"

struct CUstream_st;

namespace vmla::kernels::cuda {

/// cudaStream_t and cudaError_t, for files that include no CUDA header.
using Stream = CUstream_st*;
using Status = int;

/// Each queues an operation's kernels in a stream of the current device and returns at once, with 0
/// or the cudaError_t of the launch. Pointers are to that device's memory; offsets are 64-bit. The
/// CPU's fp64 (Element::kDouble) gives cudaErrorInvalidValue.
Status launch_rms_norm(const RmsNormParams& params, Stream stream);
Status launch_rms_norm_backward(const RmsNormBackwardParams& params, Stream stream);
Status launch_layer_norm_modulate(const LayerNormModulateParams& params, Stream stream);
Status launch_layer_norm_modulate_backward(const LayerNormModulateBackwardParams& params,
                                           Stream stream);
Status launch_gated_residual(const GatedResidualParams& params, Stream stream);
Status launch_gated_residual_backward(const GatedResidualBackwardParams& params, Stream stream);
Status launch_gelu_tanh(const GeluParams& params, Stream stream);
Status launch_gelu_tanh_backward(const GeluBackwardParams& params, Stream stream);
Status launch_rope(const RopeParams& params, Stream stream);
Status launch_rope_latents(const RopeLatentsParams& params, Stream stream);
Status launch_merge_part(const MergePartParams& params, Stream stream);
Status launch_adamw(const AdamwParams& params, Stream stream);

}  // namespace vmla::kernels::cuda
