// y = w * x * rstd, rstd = 1 / sqrt(mean(x^2) + eps). Saved: x, w and rstd in fp32.
// With h = x * rstd and g = dy * w: dx = rstd * (g - h * mean(g * h)), dw = sum over rows of dy *
// h. Sums in fp32: over a row by a warp, over rows as token_sums.cuh has it.
#include "kernels/cuda/token_sums.cuh"

namespace vmla::kernels::cuda {
namespace {

template <int N, class T, class W>
__global__ void __launch_bounds__(kThreads) forward_rows(RmsNormParams p) {
  for (int64_t i = first_row(); i < p.first.rows + p.second.rows; i += row_step()) {
    const bool first = i < p.first.rows;
    const RmsNormRows& r = first ? p.first : p.second;
    const int64_t row = first ? i : i - p.first.rows;
    const W* weight = static_cast<const W*>(r.weight);
    const T* x = static_cast<const T*>(r.x) + row * r.x_stride;
    T* y = static_cast<T*>(r.y) + row * r.D;
    float v[N], w[N];
    float squares = 0;
    for (int64_t d = lane_index() * N; d < r.D; d += kWarpSize * N) {
      read_pack(x, d, v);
      for (int k = 0; k < N; ++k) squares += v[k] * v[k];
    }
    const float rstd =
        1.0f / sqrtf(warp_sum(squares) / static_cast<float>(r.D) + static_cast<float>(p.eps));
    if (lane_index() == 0) static_cast<float*>(r.rstd)[row] = rstd;
    for (int64_t d = lane_index() * N; d < r.D; d += kWarpSize * N) {
      read_pack(x, d, v);
      read_pack(weight, d, w);
      for (int k = 0; k < N; ++k) v[k] = v[k] * rstd * w[k];
      write_pack(y, d, v);
    }
  }
}

template <int N, class T, class W>
__global__ void __launch_bounds__(kThreads) backward_rows(RmsNormBackwardParams p) {
  const W* weight = static_cast<const W*>(p.weight);
  for (int64_t row = first_row(); row < p.rows; row += row_step()) {
    const T* x = static_cast<const T*>(p.x) + row * p.x_stride;
    const T* dy = static_cast<const T*>(p.grad_y) + row * p.grad_y_stride;
    T* dx = static_cast<T*>(p.grad_x) + row * p.D;
    const float rstd = static_cast<const float*>(p.rstd)[row];
    float v[N], w[N], g[N];
    float product = 0;
    for (int64_t d = lane_index() * N; d < p.D; d += kWarpSize * N) {
      read_pack(x, d, v);
      read_pack(dy, d, g);
      read_pack(weight, d, w);
      for (int k = 0; k < N; ++k) product += g[k] * w[k] * (v[k] * rstd);
    }
    const float mean_gh = warp_sum(product) / static_cast<float>(p.D);
    for (int64_t d = lane_index() * N; d < p.D; d += kWarpSize * N) {
      read_pack(x, d, v);
      read_pack(dy, d, g);
      read_pack(weight, d, w);
      for (int k = 0; k < N; ++k) v[k] = rstd * (g[k] * w[k] - v[k] * rstd * mean_gh);
      write_pack(dx, d, v);
    }
  }
}

/// dy * h: rows are the tokens of a single frame.
template <class T>
struct WeightTerms {
  static constexpr int kSums = 1;
  RmsNormBackwardParams p;
  template <int N>
  __device__ void add(int64_t, int64_t row, int64_t d, float (&sums)[1][N]) const {
    float x[N], dy[N];
    read_pack(static_cast<const T*>(p.x), row * p.x_stride + d, x);
    read_pack(static_cast<const T*>(p.grad_y), row * p.grad_y_stride + d, dy);
    const float rstd = static_cast<const float*>(p.rstd)[row];
    for (int k = 0; k < N; ++k) sums[0][k] += dy[k] * (x[k] * rstd);
  }
};

}  // namespace

Status launch_rms_norm(const RmsNormParams& p, Stream stream) {
  const auto take_packs = [](const RmsNormRows& r) {
    return takes_packs(r.D, {{r.x, r.x_stride}, {r.weight, r.D}, {r.y, r.D}});
  };
  const bool packs = take_packs(p.first) && take_packs(p.second);
  return with_elements(p.element, p.weight_element, [&](auto element, auto other) -> Status {
    using T = typename decltype(element)::type;
    using W = typename decltype(other)::type;
    return with_packs(packs, [&](auto count) -> Status {
      const auto kernel = forward_rows<decltype(count)::value, T, W>;
      return launch(kernel, row_blocks(p.first.rows + p.second.rows), kThreads, stream, p);
    });
  });
}

Status launch_rms_norm_backward(const RmsNormBackwardParams& p, Stream stream) {
  const bool packs = takes_packs(
      p.D, {{p.x, p.x_stride}, {p.grad_y, p.grad_y_stride}, {p.weight, p.D}, {p.grad_x, p.D}});
  return with_elements(p.element, p.weight_element, [&](auto element, auto other) -> Status {
    using T = typename decltype(element)::type;
    using W = typename decltype(other)::type;
    const Status status = with_packs(packs, [&](auto count) -> Status {
      const auto kernel = backward_rows<decltype(count)::value, T, W>;
      return launch(kernel, row_blocks(p.rows), kThreads, stream, p);
    });
    if (status != cudaSuccess) return status;
    return launch_token_sums<W>(WeightTerms<T>{p},
                                1,
                                p.rows,
                                p.D,
                                packs,
                                static_cast<float*>(p.partial_sums),
                                {p.grad_weight},
                                stream);
  });
}

}  // namespace vmla::kernels::cuda
