// gelu(x) = x * sigmoid(z), z = 2 sqrt(2/pi) (x + 0.044715 x^3), which is the tanh form. Saved: x.
// gelu'(x) = s + x s (1 - s) z', s = sigmoid(z). fp32 throughout.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

constexpr float kLinear = 1.5957691216057307f;  // 2 sqrt(2 / pi)
constexpr float kCubic = kLinear * 0.044715f;

// Where e^-z overflows the quotient is 0, as it should be.
__device__ inline float sigmoid(float z) {
  return 1.0f / (1.0f + expf(-z));
}

__device__ inline float gelu(float v) {
  return v * sigmoid(v * (kLinear + kCubic * (v * v)));
}

__device__ inline float gelu_slope(float v) {
  // Past |x| = 100 the derivative is 0 or 1 to the last bit; the bound keeps 0 * infinity out of
  // the product.
  const float square = v * v < 1e4f ? v * v : 1e4f;
  const float z = v * (kLinear + kCubic * square);
  const float plus = sigmoid(z);
  const float minus = sigmoid(-z);  // 1 - plus, with its own digits
  const float slope = kLinear + 3.0f * kCubic * square;
  return plus + v * plus * minus * slope;
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads) forward_items(GeluParams p) {
  float v[N];
  for (int64_t i = first_item() * N; i < p.count; i += item_step() * N) {
    read_pack(static_cast<const T*>(p.x), i, v);
    for (int k = 0; k < N; ++k) v[k] = gelu(v[k]);
    write_pack(static_cast<T*>(p.y), i, v);
  }
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads) backward_items(GeluBackwardParams p) {
  float v[N], dy[N];
  for (int64_t i = first_item() * N; i < p.count; i += item_step() * N) {
    read_pack(static_cast<const T*>(p.x), i, v);
    read_pack(static_cast<const T*>(p.grad_y), i, dy);
    for (int k = 0; k < N; ++k) v[k] = dy[k] * gelu_slope(v[k]);
    write_pack(static_cast<T*>(p.grad_x), i, v);
  }
}

}  // namespace

Status launch_gelu_tanh(const GeluParams& p, Stream stream) {
  return with_element(p.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return with_packs(takes_packs(p.count, {{p.x, 0}, {p.y, 0}}), [&](auto count) -> Status {
      constexpr int N = decltype(count)::value;
      const unsigned blocks = blocks_for(p.count, N * kThreads);
      return launch(forward_items<N, T>, blocks, kThreads, stream, p);
    });
  });
}

Status launch_gelu_tanh_backward(const GeluBackwardParams& p, Stream stream) {
  return with_element(p.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    const bool packs = takes_packs(p.count, {{p.x, 0}, {p.grad_y, 0}, {p.grad_x, 0}});
    return with_packs(packs, [&](auto count) -> Status {
      constexpr int N = decltype(count)::value;
      const unsigned blocks = blocks_for(p.count, N * kThreads);
      return launch(backward_items<N, T>, blocks, kThreads, stream, p);
    });
  });
}

}  // namespace vmla::kernels::cuda
