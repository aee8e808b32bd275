// Decoupled AdamW (adamw.h) over flat fp32 buffers, with the moving average and the bf16 copies
// that follow: one kernel that reads and writes each element once.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

/// What follows from the new parameters of element i and the N - 1 after it.
template <int N>
__device__ inline void follow(const AdamwParams& a,
                              const float (&param)[N],
                              float (&average)[N],
                              int64_t i) {
  if (a.rounded != nullptr) write_pack(static_cast<__nv_bfloat16*>(a.rounded), i, param);
  if (a.average == nullptr) return;
  for (int k = 0; k < N; ++k) {
    const float base = a.average_from_param ? param[k] : average[k];
    average[k] = base + a.difference_factor * (param[k] - average[k]);
  }
  write_pack(a.average, i, average);
  if (a.rounded_average != nullptr)
    write_pack(static_cast<__nv_bfloat16*>(a.rounded_average), i, average);
}

template <int N>
__device__ inline void update(const AdamwParams& a, float scale, int64_t i) {
  // All is read before anything is written, so that a thread waits for memory once.
  float grad[N], moment[N], square[N], param[N], average[N];
  read_pack(a.grad, i, grad);
  if (a.exp_avg != nullptr) read_pack(a.exp_avg, i, moment);
  read_pack(a.exp_avg_sq, i, square);
  read_pack(a.param, i, param);
  if (a.average != nullptr) read_pack(a.average, i, average);
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
  follow(a, param, average, i);
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
  const bool packs = takes_packs(kPack,
                                 {{a.param, 0},
                                  {a.grad, 0},
                                  {a.exp_avg, 0},
                                  {a.exp_avg_sq, 0},
                                  {a.rounded, 0},
                                  {a.average, 0},
                                  {a.rounded_average, 0}});
  return with_packs(packs, [&](auto count) -> Status {
    constexpr int N = decltype(count)::value;
    return launch(update_items<N>, blocks_for(a.count, N * kThreads), kThreads, stream, a);
  });
}

}  // namespace vmla::kernels::cuda
