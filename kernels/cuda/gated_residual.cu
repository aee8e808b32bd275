// out = x + gate * y. Saved: y and gate. The gradient of x is the incoming g; dy = gate * g; dgate
// = sum over a frame's tokens of g * y, in fp32, as token_sums.cuh has it.
#include "kernels/cuda/token_sums.cuh"

namespace vmla::kernels::cuda {
namespace {

template <class T, class W>
__global__ void __launch_bounds__(kThreads) forward_rows(GatedResidualParams p) {
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
    const T* y = static_cast<const T*>(p.y) + f * p.y_frame_stride + s * p.y_token_stride;
    const W* gate = static_cast<const W*>(p.gate) + f * p.gate_stride;
    T* out = static_cast<T*>(p.out) + row * p.D;
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) {
      write(out, d, read(x, d) + read(gate, d) * read(y, d));
    }
  }
}

template <class T, class W>
__global__ void __launch_bounds__(kThreads) backward_rows(GatedResidualBackwardParams p) {
  for (int64_t row = first_row(); row < p.frames * p.S; row += row_step()) {
    const int64_t f = row / p.S;
    const int64_t s = row % p.S;
    const T* g = static_cast<const T*>(p.grad) + f * p.grad_frame_stride + s * p.grad_token_stride;
    const W* gate = static_cast<const W*>(p.gate) + f * p.gate_stride;
    T* dy = static_cast<T*>(p.grad_y) + row * p.D;
    for (int64_t d = lane_index(); d < p.D; d += kWarpSize) {
      write(dy, d, read(g, d) * read(gate, d));
    }
  }
}

/// g * y.
template <class T>
struct GateTerms {
  static constexpr int kSums = 1;
  GatedResidualBackwardParams p;
  __device__ void add(int64_t f, int64_t s, int64_t d, float (&sums)[1]) const {
    const float g =
        read(static_cast<const T*>(p.grad), f * p.grad_frame_stride + s * p.grad_token_stride + d);
    const float y =
        read(static_cast<const T*>(p.y), f * p.y_frame_stride + s * p.y_token_stride + d);
    sums[0] += g * y;
  }
};

}  // namespace

Status launch_gated_residual(const GatedResidualParams& p, Stream stream) {
  return with_elements(p.element, p.row_element, [&](auto element, auto other) -> Status {
    using T = typename decltype(element)::type;
    using W = typename decltype(other)::type;
    return launch(forward_rows<T, W>, row_blocks(p.frames * p.S), kThreads, stream, p);
  });
}

Status launch_gated_residual_backward(const GatedResidualBackwardParams& p, Stream stream) {
  return with_elements(p.element, p.row_element, [&](auto element, auto other) -> Status {
    using T = typename decltype(element)::type;
    using W = typename decltype(other)::type;
    const Status status =
        launch(backward_rows<T, W>, row_blocks(p.frames * p.S), kThreads, stream, p);
    if (status != cudaSuccess) return status;
    return launch_token_sums<W>(
        GateTerms<T>{p}, p.frames, p.S, p.D, p.partial_sums, {p.grad_gate}, stream);
  });
}

}  // namespace vmla::kernels::cuda
