// Decoupled AdamW (adamw.h) over flat fp32 buffers: one kernel that reads and writes each element
// once.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) update_items(AdamwParams a) {
  const float scale = *a.grad_scale;
  if (!isfinite(scale)) return;
  for (int64_t i = first_item(); i < a.count; i += item_step()) {
    const float g = a.grad[i] * scale;
    float moment = g;
    if (a.exp_avg != nullptr) {
      moment = a.exp_avg[i] * a.beta1 + g * a.one_minus_beta1;
      a.exp_avg[i] = moment;
    }
    const float square = a.exp_avg_sq[i] * a.beta2 + g * g * a.one_minus_beta2;
    a.exp_avg_sq[i] = square;
    const float denominator = sqrtf(square) * a.root_correction + a.eps;
    a.param[i] = a.param[i] * a.decay - a.step_size * (moment / denominator);
  }
}

}  // namespace

Status launch_adamw(const AdamwParams& a, Stream stream) {
  return launch(update_items, blocks_for(a.count, kThreads), kThreads, stream, a);
}

}  // namespace vmla::kernels::cuda
