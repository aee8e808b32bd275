// out = x + gate * y. Saved: y and gate. The gradient of x is the incoming g; dy = gate * g; dgate
// = sum over a frame's tokens of g * y, in fp32, as token_sums.cuh has it.
#include "kernels/cuda/token_sums.cuh"

namespace vmla::kernels::cuda {
namespace {

template <int N, class T, class Y, class W>
__global__ void __launch_bounds__(kThreads) forward_rows(GatedResidualParams p) {
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
    const Y* y = static_cast<const Y*>(p.y) + f * p.y_frame_stride + s * p.y_token_stride;
    const W* gate = static_cast<const W*>(p.gate) + f * p.gate_stride;
    T* out = static_cast<T*>(p.out) + row * p.D;
    float v[N], w[N], g[N];
    for (int64_t d = lane_index() * N; d < p.D; d += kWarpSize * N) {
      read_pack(x, d, v);
      read_pack(y, d, w);
      read_pack(gate, d, g);
      for (int k = 0; k < N; ++k) v[k] += g[k] * w[k];
      write_pack(out, d, v);
    }
  }
}

template <int N, class T, class Y, class W>
__global__ void __launch_bounds__(kThreads) backward_rows(GatedResidualBackwardParams p) {
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* g = static_cast<const T*>(p.grad) + f * p.grad_frame_stride + s * p.grad_token_stride;
    const W* gate = static_cast<const W*>(p.gate) + f * p.gate_stride;
    Y* dy = static_cast<Y*>(p.grad_y) + row * p.D;
    float v[N], w[N];
    for (int64_t d = lane_index() * N; d < p.D; d += kWarpSize * N) {
      read_pack(g, d, v);
      read_pack(gate, d, w);
      for (int k = 0; k < N; ++k) v[k] *= w[k];
      write_pack(dy, d, v);
    }
  }
}

/// g * y.
template <class T, class Y>
struct GateTerms {
  static constexpr int kSums = 1;
  GatedResidualBackwardParams p;
  template <int N>
  __device__ void add(int64_t f, int64_t s, int64_t d, float (&sums)[1][N]) const {
    float g[N], y[N];
    read_pack(
        static_cast<const T*>(p.grad), f * p.grad_frame_stride + s * p.grad_token_stride + d, g);
    read_pack(static_cast<const Y*>(p.y), f * p.y_frame_stride + s * p.y_token_stride + d, y);
    for (int k = 0; k < N; ++k) sums[0][k] += g[k] * y[k];
  }
};

}  // namespace

Status launch_gated_residual(const GatedResidualParams& p, Stream stream) {
  const bool packs = takes_packs(p.D,
                                 {{p.x, p.x_token_stride, p.x_frame_stride},
                                  {p.y, p.y_token_stride, p.y_frame_stride},
                                  {p.gate, p.gate_stride},
                                  {p.out, p.D}});
  return with_packs(packs, [&](auto count) -> Status {
    return with_elements(
        p.element, p.y_element, p.row_element, [&](auto type, auto other, auto row) -> Status {
          using T = typename decltype(type)::type;
          using Y = typename decltype(other)::type;
          using W = typename decltype(row)::type;
          const auto kernel = forward_rows<decltype(count)::value, T, Y, W>;
          return launch(kernel, row_blocks(p.frames * p.S), kThreads, stream, p);
        });
  });
}

Status launch_gated_residual_backward(const GatedResidualBackwardParams& p, Stream stream) {
  const bool packs = takes_packs(p.D,
                                 {{p.grad, p.grad_token_stride, p.grad_frame_stride},
                                  {p.gate, p.gate_stride},
                                  {p.grad_y, p.D}});
  return with_elements(
      p.element, p.y_element, p.row_element, [&](auto type, auto other, auto row) -> Status {
        using T = typename decltype(type)::type;
        using Y = typename decltype(other)::type;
        using W = typename decltype(row)::type;
        const Status status = with_packs(packs, [&](auto count) -> Status {
          const auto kernel = backward_rows<decltype(count)::value, T, Y, W>;
          return launch(kernel, row_blocks(p.frames * p.S), kThreads, stream, p);
        });
        if (status != cudaSuccess) return status;
        const bool sum_packs =
            packs && takes_packs(p.D, {{p.y, p.y_token_stride, p.y_frame_stride}});
        return launch_token_sums<W>(GateTerms<T, Y>{p},
                                    p.frames,
                                    p.S,
                                    p.D,
                                    sum_packs,
                                    p.partial_sums,
                                    {p.grad_gate},
                                    stream);
      });
}

}  // namespace vmla::kernels::cuda
