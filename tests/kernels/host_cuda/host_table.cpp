#include "tests/kernels/host_cuda/host_table.h"

#include <ATen/ATen.h>

#include "kernels/cuda/launch.h"

namespace vmla::tests::host_cuda {
namespace {

using namespace kernels;
using namespace kernels::cuda;

template <class Params>
int64_t calls = 0;

template <class Params, Status (*launch)(const Params&, Stream)>
void run(const Params& params, int) {
  ++calls<Params>;
  const Status status = launch(params, nullptr);
  TORCH_CHECK(status == 0, "a launch was refused with CUDA's error ", status);
}

constexpr KernelTable kTable{
    .why_unusable = [] { return std::string(); },
    .rms_norm = run<RmsNormParams, launch_rms_norm>,
    .rms_norm_backward = run<RmsNormBackwardParams, launch_rms_norm_backward>,
    .layer_norm_modulate = run<LayerNormModulateParams, launch_layer_norm_modulate>,
    .layer_norm_modulate_backward =
        run<LayerNormModulateBackwardParams, launch_layer_norm_modulate_backward>,
    .gated_residual = run<GatedResidualParams, launch_gated_residual>,
    .gated_residual_backward = run<GatedResidualBackwardParams, launch_gated_residual_backward>,
    .gelu_tanh = run<GeluParams, launch_gelu_tanh>,
    .gelu_tanh_backward = run<GeluBackwardParams, launch_gelu_tanh_backward>,
    .rope = run<RopeParams, launch_rope>,
    .adamw = run<AdamwParams, launch_adamw>,
};

}  // namespace

const KernelTable& host_table() {
  return kTable;
}

std::map<std::string, int64_t> host_table_calls() {
  return {
      {"rms_norm", calls<RmsNormParams>},
      {"rms_norm_backward", calls<RmsNormBackwardParams>},
      {"layer_norm_modulate", calls<LayerNormModulateParams>},
      {"layer_norm_modulate_backward", calls<LayerNormModulateBackwardParams>},
      {"gated_residual", calls<GatedResidualParams>},
      {"gated_residual_backward", calls<GatedResidualBackwardParams>},
      {"gelu_tanh", calls<GeluParams>},
      {"gelu_tanh_backward", calls<GeluBackwardParams>},
      {"rope", calls<RopeParams>},
      {"adamw", calls<AdamwParams>},
  };
}

}  // namespace vmla::tests::host_cuda
