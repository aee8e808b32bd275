#include "kernels/gelu/gelu_cpu.h"

#include "kernels/cpu_clones.h"
#include "kernels/fast_exp.h"

namespace vmla::kernels {
namespace {

constexpr double kTwoRootTwoOverPi = 1.5957691216057307117;  // 2 sqrt(2 / pi)
constexpr double kCubic = 0.044715;

// sigmoid(z) and sigmoid(-z), each with its own digits: 1 - sigmoid(z) would lose them all for
// large z. Where e^-87 would be the answer it is exactly 0, so that no factor, however large,
// brings it back.
template <class T>
struct Sigmoid {
  T plus, minus;
};
template <class T>
VMLA_INLINE Sigmoid<T> sigmoid(T z) {
  const T e = fast_exp(-z);
  const T s = 1 / (1 + e);
  return {z < T{-87} ? T{0} : s, z > T{87} ? T{0} : e * s};
}

template <class T>
VMLA_INLINE void forward_loop(const GeluParams& p) {
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  constexpr T kA = static_cast<T>(kTwoRootTwoOverPi);
  constexpr T kB = static_cast<T>(kTwoRootTwoOverPi * kCubic);
  VMLA_INDEPENDENT
  for (int64_t i = 0; i < p.count; ++i) {
    const T v = x[i];
    y[i] = v * sigmoid(v * (kA + kB * (v * v))).plus;
  }
}

// gelu'(x) = s + x s (1 - s) z', with z = 2u, s = sigmoid(z), 1 - s = sigmoid(-z).
template <class T>
VMLA_INLINE void backward_loop(const GeluBackwardParams& p) {
  const T* grad_y = static_cast<const T*>(p.grad_y);
  const T* x = static_cast<const T*>(p.x);
  T* grad_x = static_cast<T*>(p.grad_x);
  constexpr T kA = static_cast<T>(kTwoRootTwoOverPi);
  constexpr T kB = static_cast<T>(kTwoRootTwoOverPi * kCubic);
  VMLA_INDEPENDENT
  for (int64_t i = 0; i < p.count; ++i) {
    // Past |x| = 100 the derivative is 0 or 1 to the last bit; the bound keeps 0 * infinity out of
    // the product.
    const T v = x[i];
    const T square = v * v < T{1e4} ? v * v : T{1e4};
    const Sigmoid<T> s = sigmoid(v * (kA + kB * square));
    const T slope = kA + 3 * kB * square;
    grad_x[i] = grad_y[i] * (s.plus + v * s.plus * s.minus * slope);
  }
}

}  // namespace

VMLA_CLONES void gelu_tanh_cpu(const GeluParams& params) {
  if (params.element == Element::kDouble) return forward_loop<double>(params);
  forward_loop<float>(params);
}
VMLA_CLONES void gelu_tanh_backward_cpu(const GeluBackwardParams& params) {
  if (params.element == Element::kDouble) return backward_loop<double>(params);
  backward_loop<float>(params);
}

}  // namespace vmla::kernels
