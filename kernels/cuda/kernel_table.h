#pragma once

#include <cstddef>
#include <string>

#include "kernels/adamw/adamw_cpu.h"
#include "kernels/cuda/draw_params.h"
#include "kernels/cuda/gelu_params.h"
#include "kernels/cuda/modulate_params.h"
#include "kernels/cuda/rms_norm_params.h"
#include "kernels/cuda/rope_params.h"

namespace vmla::kernels::cuda {

/// A function of the module: queues the operation in LibTorch's current stream of the device with
/// this index. Throws c10::Error when CUDA refuses the launch.
template <class Params>
using Kernel = void (*)(const Params& params, int device);

/// All that the module gives the program: no symbol of it is bound by name but the one below.
struct KernelTable {
  size_t layout;  // kTableLayout of the module's own build
  /// Empty when the current device can run the kernels, else why not, in one line.
  std::string (*why_unusable)();
  Kernel<RmsNormParams> rms_norm;
  Kernel<RmsNormBackwardParams> rms_norm_backward;
  Kernel<LayerNormModulateParams> layer_norm_modulate;
  Kernel<LayerNormModulateBackwardParams> layer_norm_modulate_backward;
  Kernel<GatedResidualParams> gated_residual;
  Kernel<GatedResidualBackwardParams> gated_residual_backward;
  Kernel<GeluParams> gelu_tanh;
  Kernel<GeluBackwardParams> gelu_tanh_backward;
  Kernel<RopeParams> rope;
  Kernel<AdamwLoop> adamw;
  Kernel<DrawParams> normals;
  Kernel<DrawParams> uniforms;
};

/// Tells a module of another version apart, as far as sizes do.
constexpr size_t kTableLayout =
    sizeof(KernelTable) + 1000 * (sizeof(RmsNormParams) + sizeof(RmsNormBackwardParams)) +
    3000 * (sizeof(LayerNormModulateParams) + sizeof(LayerNormModulateBackwardParams)) +
    7000 * (sizeof(GatedResidualParams) + sizeof(GatedResidualBackwardParams)) +
    11000 * (sizeof(GeluParams) + sizeof(GeluBackwardParams)) + 13000 * sizeof(RopeParams) +
    17000 * sizeof(AdamwLoop) + 19000 * sizeof(DrawParams);

/// The module's one exported function has this name and type.
constexpr const char* kTableFunction = "vmla_cuda_kernels";
using TableFunction = const KernelTable* (*)();

}  // namespace vmla::kernels::cuda
