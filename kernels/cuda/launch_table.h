#pragma once

#include <string>

#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/launch.h"

namespace vmla::kernels::cuda {

/// The table whose functions are `Run<Params, launch>::call(const Params&, int device)`, one for
/// each of launch.h's: on a GPU, or, in the tests, on the CPU.
template <template <class Params, Status (*launch)(const Params&, Stream)> class Run>
constexpr KernelTable launch_table(std::string (*why_unusable)(),
                                   std::string (*lock_pages)(void* begin, size_t bytes),
                                   void (*unlock_pages)(void* begin),
                                   Record record) {
  return {
      .why_unusable = why_unusable,
      .lock_pages = lock_pages,
      .unlock_pages = unlock_pages,
      .record = record,
      .rms_norm = Run<RmsNormParams, launch_rms_norm>::call,
      .rms_norm_backward = Run<RmsNormBackwardParams, launch_rms_norm_backward>::call,
      .layer_norm_modulate = Run<LayerNormModulateParams, launch_layer_norm_modulate>::call,
      .layer_norm_modulate_backward =
          Run<LayerNormModulateBackwardParams, launch_layer_norm_modulate_backward>::call,
      .gated_residual = Run<GatedResidualParams, launch_gated_residual>::call,
      .gated_residual_backward =
          Run<GatedResidualBackwardParams, launch_gated_residual_backward>::call,
      .gelu_tanh = Run<GeluParams, launch_gelu_tanh>::call,
      .gelu_tanh_backward = Run<GeluBackwardParams, launch_gelu_tanh_backward>::call,
      .rope = Run<RopeParams, launch_rope>::call,
      .rope_latents = Run<RopeLatentsParams, launch_rope_latents>::call,
      .merge_part = Run<MergePartParams, launch_merge_part>::call,
      .adamw = Run<AdamwParams, launch_adamw>::call,
  };
}

}  // namespace vmla::kernels::cuda
