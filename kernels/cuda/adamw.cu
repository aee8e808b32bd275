// Decoupled AdamW (adamw.h) over flat fp32 buffers: one kernel that reads and writes each element
// once.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

template <int N>
__device__ inline void update(const AdamwParams& a, float scale, int64_t i) {
  float grad[N], moment[N], square[N], param[N];
  read_pack(a.grad, i, grad);
  if (a.exp_avg != nullptr) read_pack(a.exp_avg, i, moment);
  read_pack(a.exp_avg_sq, i, square);
  read_pack(a.param, i, param);
  for (int k = 0; k < N; ++k) {
    const float g = grad[k] * scale;
    moment[k] = a.exp_avg != nullptr ? moment[k] * a.beta1 + g * a.one_minus_beta1 : g;
    square[k] = square[k] * a.beta2 + g * g * a.one_minus_beta2;
    const float denominator = sqrtf(square[k]) * a.root_correction + a.eps;
    param[k] = param[k] * a.decay - a.step_size * (moment[k] / denominator);
  }
  if (a.exp_avg != nullptr) write_pack(a.exp_avg, i, moment);
  write_pack(a.exp_avg_sq, i, square);
  write_pack(a.param, i, param);
}

/// Packs, and the few items behind the last whole one.
template <int N>
__global__ void __launch_bounds__(kThreads) update_items(AdamwParams a) {
  const float scale = *a.grad_scale;
  if (!isfinite(scale)) return;
  const int64_t packed = a.count / N * N;
  for (int64_t i = first_item() * N; i < packed; i += item_step() * N) update<N>(a, scale, i);
  for (int64_t i = packed + first_item(); i < a.count; i += item_step()) update<1>(a, scale, i);
}

}  // namespace

Status launch_adamw(const AdamwParams& a, Stream stream) {
  const bool packs =
      takes_packs(kPack, {{a.param, 0}, {a.grad, 0}, {a.exp_avg, 0}, {a.exp_avg_sq, 0}});
  return with_packs(packs, [&](auto count) -> Status {
    constexpr int N = decltype(count)::value;
    return launch(update_items<N>, blocks_for(a.count, N * kThreads), kThreads, stream, a);
  });
}

}  // namespace vmla::kernels::cuda
