#include "tests/kernels/host_cuda/host_table.h"

#include <ATen/ATen.h>

#include "kernels/cuda/launch_table.h"

namespace vmla::tests::host_cuda {
namespace {

using namespace kernels;
using namespace kernels::cuda;

template <class Params>
int64_t calls = 0;

template <class Params, Status (*launch)(const Params&, Stream)>
struct Run {
  static void call(const Params& params, int) {
    ++calls<Params>;
    const Status status = launch(params, nullptr);
    TORCH_CHECK(status == 0, "a launch was refused with CUDA's error ", status);
  }
};

constexpr KernelTable kTable = launch_table<Run>([] { return std::string(); },
                                                 [](void*, size_t) { return std::string(); },
                                                 [](void*) {},
                                                 nullptr);

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
      {"rope_latents", calls<RopeLatentsParams>},
      {"merge_part", calls<MergePartParams>},
      {"adamw", calls<AdamwParams>},
  };
}

}  // namespace vmla::tests::host_cuda
