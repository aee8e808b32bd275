// y = h * (scale_offset + scale) + shift, h = (x - mean) * rstd,
// rstd = 1 / sqrt(mean((x - mean)^2) + eps), where x may be a sum that is formed here.
// Saved: x, scale, and mean and rstd in fp32. With g = dy * (scale_offset + scale):
// dx = rstd * (g - mean(g) - h * mean(g * h)), and what else comes in for x; dshift and dscale are
// the sums over a frame's tokens of dy and dy * h. Sums in fp32: over a row by a warp, over tokens
// as token_sums.cuh has it.
#include "kernels/cuda/token_sums.cuh"

namespace vmla::kernels::cuda {
namespace {

/// x + gate * update of one row, as it is stored: what follows reads it from there. A lane reads
/// again what it wrote itself.
template <int N, class T, class Y, class W>
__device__ inline const T* row_sum(const LayerNormModulateParams& p, const T* x, int64_t row) {
  const int64_t f = row / p.S;
  const int64_t place = f * p.update_frame_stride + row % p.S * p.update_token_stride;
  const Y* update = static_cast<const Y*>(p.update) + place;
  const W* gate = p.gate ? static_cast<const W*>(p.gate) + f * p.gate_stride : nullptr;
  T* sum = static_cast<T*>(p.sum) + row * p.D;
  float v[N], u[N], g[N];
  for (int64_t d = lane_index() * N; d < p.D; d += kWarpSize * N) {
    read_pack(x, d, v);
    read_pack(update, d, u);
    if (gate) read_pack(gate, d, g);
    for (int k = 0; k < N; ++k) v[k] += gate ? g[k] * u[k] : u[k];
    write_pack(sum, d, v);
  }
  return sum;
}

// The variance takes a second pass over the row, which lies in a cache by then: sums of squares
// would lose the digits of rows whose mean is large.
template <int N, class T, class Y, class W>
__global__ void __launch_bounds__(kThreads) forward_rows(LayerNormModulateParams p) {
  constexpr int kStep = kWarpSize * N;
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
    const W* shift = static_cast<const W*>(p.shift) + f * p.shift_stride;
    const W* scale = static_cast<const W*>(p.scale) + f * p.scale_stride;
    Y* y = static_cast<Y*>(p.y) + row * p.D;
    if (p.update) x = row_sum<N, T, Y, W>(p, x, row);
    float v[N], a[N], b[N];
    float sum = 0;
    for (int64_t d = lane_index() * N; d < p.D; d += kStep) {
      read_pack(x, d, v);
      for (int k = 0; k < N; ++k) sum += v[k];
    }
    const float mean = warp_sum(sum) / static_cast<float>(p.D);
    float squares = 0;
    for (int64_t d = lane_index() * N; d < p.D; d += kStep) {
      read_pack(x, d, v);
      for (int k = 0; k < N; ++k) squares += (v[k] - mean) * (v[k] - mean);
    }
    const float rstd =
        1.0f / sqrtf(warp_sum(squares) / static_cast<float>(p.D) + static_cast<float>(p.eps));
    if (lane_index() == 0) {
      static_cast<float*>(p.mean)[row] = mean;
      static_cast<float*>(p.rstd)[row] = rstd;
    }
    for (int64_t d = lane_index() * N; d < p.D; d += kStep) {
      read_pack(x, d, v);
      read_pack(scale, d, a);
      read_pack(shift, d, b);
      for (int k = 0; k < N; ++k) v[k] = (v[k] - mean) * rstd * (p.scale_offset + a[k]) + b[k];
      write_pack(y, d, v);
    }
  }
}

template <int N, class T, class Y, class W>
__global__ void __launch_bounds__(kThreads) backward_rows(LayerNormModulateBackwardParams p) {
  constexpr int kStep = kWarpSize * N;
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
    const Y* dy =
        static_cast<const Y*>(p.grad_y) + f * p.grad_y_frame_stride + s * p.grad_y_token_stride;
    const W* scale = static_cast<const W*>(p.scale) + f * p.scale_stride;
    const T* more = p.grad_sum ? static_cast<const T*>(p.grad_sum) + f * p.grad_sum_frame_stride +
                                     s * p.grad_sum_token_stride
                               : nullptr;
    T* dx = static_cast<T*>(p.grad_x) + row * p.D;
    const float mean = static_cast<const float*>(p.mean)[row];
    const float rstd = static_cast<const float*>(p.rstd)[row];
    float v[N], g[N], a[N], other[N] = {};
    float sum_g = 0;
    float sum_gh = 0;
    for (int64_t d = lane_index() * N; d < p.D; d += kStep) {
      read_pack(x, d, v);
      read_pack(dy, d, g);
      read_pack(scale, d, a);
      for (int k = 0; k < N; ++k) {
        const float factor = g[k] * (p.scale_offset + a[k]);
        sum_g += factor;
        sum_gh += factor * ((v[k] - mean) * rstd);
      }
    }
    const float mean_g = warp_sum(sum_g) / static_cast<float>(p.D);
    const float mean_gh = warp_sum(sum_gh) / static_cast<float>(p.D);
    for (int64_t d = lane_index() * N; d < p.D; d += kStep) {
      read_pack(x, d, v);
      read_pack(dy, d, g);
      read_pack(scale, d, a);
      if (more) read_pack(more, d, other);
      for (int k = 0; k < N; ++k) {
        const float h = (v[k] - mean) * rstd;
        v[k] = rstd * (g[k] * (p.scale_offset + a[k]) - mean_g - h * mean_gh) + other[k];
      }
      write_pack(dx, d, v);
    }
  }
}

/// dy for the shift, dy * h for the scale.
template <class T, class Y>
struct ShiftScaleTerms {
  static constexpr int kSums = 2;
  LayerNormModulateBackwardParams p;
  template <int N>
  __device__ void add(int64_t f, int64_t s, int64_t d, float (&sums)[2][N]) const {
    const int64_t row = f * p.S + s;
    float x[N], dy[N];
    read_pack(static_cast<const T*>(p.x), f * p.x_frame_stride + s * p.x_token_stride + d, x);
    read_pack(static_cast<const Y*>(p.grad_y),
              f * p.grad_y_frame_stride + s * p.grad_y_token_stride + d,
              dy);
    const float mean = static_cast<const float*>(p.mean)[row];
    const float rstd = static_cast<const float*>(p.rstd)[row];
    for (int k = 0; k < N; ++k) {
      sums[0][k] += dy[k];
      sums[1][k] += dy[k] * ((x[k] - mean) * rstd);
    }
  }
};

}  // namespace

Status launch_layer_norm_modulate(const LayerNormModulateParams& p, Stream stream) {
  const bool packs = takes_packs(p.D,
                                 {{p.x, p.x_token_stride, p.x_frame_stride},
                                  {p.update, p.update_token_stride, p.update_frame_stride},
                                  {p.gate, p.gate_stride},
                                  {p.sum, p.D},
                                  {p.shift, p.shift_stride},
                                  {p.scale, p.scale_stride},
                                  {p.y, p.D}});
  return with_packs(packs, [&](auto count) -> Status {
    return with_elements(
        p.element, p.y_element, p.row_element, [&](auto type, auto out, auto row) -> Status {
          using T = typename decltype(type)::type;
          using Y = typename decltype(out)::type;
          using W = typename decltype(row)::type;
          const auto kernel = forward_rows<decltype(count)::value, T, Y, W>;
          return launch(kernel, row_blocks(p.frames * p.S), kThreads, stream, p);
        });
  });
}

Status launch_layer_norm_modulate_backward(const LayerNormModulateBackwardParams& p,
                                           Stream stream) {
  const bool packs = takes_packs(p.D,
                                 {{p.x, p.x_token_stride, p.x_frame_stride},
                                  {p.grad_y, p.grad_y_token_stride, p.grad_y_frame_stride},
                                  {p.grad_sum, p.grad_sum_token_stride, p.grad_sum_frame_stride},
                                  {p.scale, p.scale_stride},
                                  {p.grad_x, p.D}});
  return with_elements(
      p.element, p.y_element, p.row_element, [&](auto type, auto out, auto row) -> Status {
        using T = typename decltype(type)::type;
        using Y = typename decltype(out)::type;
        using W = typename decltype(row)::type;
        const Status status = with_packs(packs, [&](auto count) -> Status {
          const auto kernel = backward_rows<decltype(count)::value, T, Y, W>;
          return launch(kernel, row_blocks(p.frames * p.S), kThreads, stream, p);
        });
        if (status != cudaSuccess) return status;
        return launch_token_sums<W>(ShiftScaleTerms<T, Y>{p},
                                    p.frames,
                                    p.S,
                                    p.D,
                                    packs,
                                    p.partial_sums,
                                    {p.grad_shift, p.grad_scale},
                                    stream);
      });
}

}  // namespace vmla::kernels::cuda
