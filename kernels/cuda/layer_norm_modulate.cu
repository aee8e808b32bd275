// y = h * (1 + scale) + shift, h = (x - mean) * rstd, rstd = 1 / sqrt(mean((x - mean)^2) + eps).
// Saved: x, scale, and mean and rstd in fp32. With g = dy * (1 + scale):
// dx = rstd * (g - mean(g) - h * mean(g * h)); dshift and dscale are the sums over a frame's tokens
// of dy and dy * h. Sums in fp32: over a row by a warp, over tokens as token_sums.cuh has it.
#include "kernels/cuda/token_sums.cuh"

namespace vmla::kernels::cuda {
namespace {

// The variance takes a second pass over the row, which lies in a cache by then: sums of squares
// would lose the digits of rows whose mean is large.
template <class T, class W>
__global__ void __launch_bounds__(kThreads) forward_rows(LayerNormModulateParams p) {
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
    const W* shift = static_cast<const W*>(p.shift) + f * p.shift_stride;
    const W* scale = static_cast<const W*>(p.scale) + f * p.scale_stride;
    T* y = static_cast<T*>(p.y) + row * p.D;
    float sum = 0;
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) sum += read(x, d);
    const float mean = warp_sum(sum) / static_cast<float>(p.D);
    float squares = 0;
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) {
      const float centred = read(x, d) - mean;
      squares += centred * centred;
    }
    const float rstd =
        1.0f / sqrtf(warp_sum(squares) / static_cast<float>(p.D) + static_cast<float>(p.eps));
    if (lane_index() == 0) {
      static_cast<float*>(p.mean)[row] = mean;
      static_cast<float*>(p.rstd)[row] = rstd;
    }
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) {
      const float h = (read(x, d) - mean) * rstd;
      write(y, d, h * (1.0f + read(scale, d)) + read(shift, d));
    }
  }
}

template <class T, class W>
__global__ void __launch_bounds__(kThreads) backward_rows(LayerNormModulateBackwardParams p) {
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
    const T* dy =
        static_cast<const T*>(p.grad_y) + f * p.grad_y_frame_stride + s * p.grad_y_token_stride;
    const W* scale = static_cast<const W*>(p.scale) + f * p.scale_stride;
    T* dx = static_cast<T*>(p.grad_x) + row * p.D;
    const float mean = static_cast<const float*>(p.mean)[row];
    const float rstd = static_cast<const float*>(p.rstd)[row];
    float sum_g = 0;
    float sum_gh = 0;
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) {
      const float g = read(dy, d) * (1.0f + read(scale, d));
      sum_g += g;
      sum_gh += g * ((read(x, d) - mean) * rstd);
    }
    const float mean_g = warp_sum(sum_g) / static_cast<float>(p.D);
    const float mean_gh = warp_sum(sum_gh) / static_cast<float>(p.D);
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) {
      const float g = read(dy, d) * (1.0f + read(scale, d));
      const float h = (read(x, d) - mean) * rstd;
      write(dx, d, rstd * (g - mean_g - h * mean_gh));
    }
  }
}

/// dy for the shift, dy * h for the scale.
template <class T>
struct ShiftScaleTerms {
  static constexpr int kSums = 2;
  LayerNormModulateBackwardParams p;
  __device__ void add(int64_t f, int64_t s, int64_t d, float (&sums)[2]) const {
    const int64_t row = f * p.S + s;
    const float x =
        read(static_cast<const T*>(p.x), f * p.x_frame_stride + s * p.x_token_stride + d);
    const float dy = read(static_cast<const T*>(p.grad_y),
                          f * p.grad_y_frame_stride + s * p.grad_y_token_stride + d);
    sums[0] += dy;
    const float mean = static_cast<const float*>(p.mean)[row];
    const float rstd = static_cast<const float*>(p.rstd)[row];
    sums[1] += dy * ((x - mean) * rstd);
  }
};

}  // namespace

Status launch_layer_norm_modulate(const LayerNormModulateParams& p, Stream stream) {
  return with_elements(p.element, p.row_element, [&](auto element, auto other) -> Status {
    using T = typename decltype(element)::type;
    using W = typename decltype(other)::type;
    return launch(forward_rows<T, W>, row_blocks(p.frames * p.S), kThreads, stream, p);
  });
}

Status launch_layer_norm_modulate_backward(const LayerNormModulateBackwardParams& p,
                                           Stream stream) {
  return with_elements(p.element, p.row_element, [&](auto element, auto other) -> Status {
    using T = typename decltype(element)::type;
    using W = typename decltype(other)::type;
    const Status status =
        launch(backward_rows<T, W>, row_blocks(p.frames * p.S), kThreads, stream, p);
    if (status != cudaSuccess) return status;
    return launch_token_sums<W>(ShiftScaleTerms<T>{p},
                                p.frames,
                                p.S,
                                p.D,
                                p.partial_sums,
                                {p.grad_shift, p.grad_scale},
                                stream);
  });
}

}  // namespace vmla::kernels::cuda
