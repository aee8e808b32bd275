// Rotates adjacent channel pairs: (a, b) -> (a cos - b sin, a sin + b cos); the gradient is the
// rotation back. Other channels pass through. Angles and arithmetic in fp32. A warp takes a head.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) rotate_heads(RopeParams p) {
  const float sign = p.inverse ? -1.0f : 1.0f;
  const int64_t end_channel = p.first_channel + 2 * p.num_pairs;
  for (int64_t row = first_row(); row < p.B * p.L * p.N; row += row_step()) {
    const int64_t n = row % p.N;
    const int64_t l = row / p.N % p.L;
    const int64_t b = row / p.N / p.L;
    const T* x = static_cast<const T*>(p.x) + b * p.x_batch_stride + l * p.x_token_stride +
                 n * p.x_head_stride;
    T* y = static_cast<T*>(p.y) + row * p.K;
    for (int64_t d = lane_index(); d < p.first_channel; d += kWarpSize) y[d] = x[d];
    for (int64_t pair = lane_index(); pair < p.num_pairs; pair += kWarpSize) {
      const int64_t d = p.first_channel + 2 * pair;
      const float cosine = static_cast<const float*>(p.cos)[l * p.num_pairs + pair];
      const float sine = static_cast<const float*>(p.sin)[l * p.num_pairs + pair] * sign;
      const float first = read(x, d);
      const float second = read(x, d + 1);
      write(y, d, first * cosine - second * sine);
      write(y, d + 1, first * sine + second * cosine);
    }
    for (int64_t d = end_channel + lane_index(); d < p.K; d += kWarpSize) y[d] = x[d];
  }
}

}  // namespace

Status launch_rope(const RopeParams& p, Stream stream) {
  return with_element(p.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return launch(rotate_heads<T>, row_blocks(p.B * p.L * p.N), kThreads, stream, p);
  });
}

}  // namespace vmla::kernels::cuda
