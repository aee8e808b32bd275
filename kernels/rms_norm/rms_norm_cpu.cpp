#include "kernels/rms_norm/rms_norm_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

template <class T>
VMLA_INLINE void forward_rows(const RmsNormForward<T>& a) {
  const int64_t D = a.D;
  const T* weight = a.weight;
  for (int64_t row = 0; row < a.rows; ++row) {
    const T* x = a.x + row * a.x_stride;
    T* y = a.y + row * D;
    T squares = 0;
    for (int64_t d = 0; d < D; ++d) squares += x[d] * x[d];
    const T rstd = 1 / std::sqrt(squares / static_cast<T>(D) + static_cast<T>(a.eps));
    a.rstd[row] = rstd;
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < D; ++d) y[d] = x[d] * rstd * weight[d];
  }
}

// With h = x * rstd and g = dy * w: dx = rstd * (g - h * mean(g * h)), and dw gains dy * h.
template <class T>
VMLA_INLINE void backward_rows(const RmsNormBackward<T>& a, int64_t begin, int64_t end, T* sums) {
  const int64_t D = a.D;
  const T* weight = a.weight;
  std::fill(sums, sums + D, T{0});
  for (int64_t row = begin; row < end; ++row) {
    const T* x = a.x + row * a.x_stride;
    const T* dy = a.grad_y + row * a.grad_y_stride;
    T* dx = a.grad_x + row * D;
    T* dw = sums;
    const T rstd = a.rstd[row];
    T product = 0;
    for (int64_t d = 0; d < D; ++d) product += dy[d] * weight[d] * x[d];
    const T pull = product * rstd * rstd / static_cast<T>(D);
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < D; ++d) {
      dx[d] = rstd * (dy[d] * weight[d] - x[d] * pull);
      dw[d] += dy[d] * (x[d] * rstd);
    }
  }
}

template <class T>
VMLA_INLINE void backward_blocks(const RmsNormBackward<T>& a) {
  const int64_t blocks = rms_norm_blocks(a.rows);
  for (int64_t b = 0; b < blocks; ++b) {
    backward_rows(a, a.rows * b / blocks, a.rows * (b + 1) / blocks, a.block_sums + b * a.D);
  }
  T* dw = a.grad_weight;
  std::fill(dw, dw + a.D, T{0});
  for (int64_t b = 0; b < blocks; ++b) {
    const T* sums = a.block_sums + b * a.D;
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < a.D; ++d) dw[d] += sums[d];
  }
}

}  // namespace

int64_t rms_norm_blocks(int64_t rows) {
  constexpr int64_t kLeastRows = 64;
  constexpr int64_t kMostBlocks = 64;
  return std::clamp<int64_t>(rows / kLeastRows, 1, kMostBlocks);
}

VMLA_CLONES void rms_norm_cpu(const RmsNormForward<float>& args) {
  forward_rows(args);
}
VMLA_CLONES void rms_norm_cpu(const RmsNormForward<double>& args) {
  forward_rows(args);
}
VMLA_CLONES void rms_norm_backward_cpu(const RmsNormBackward<float>& args) {
  backward_blocks(args);
}
VMLA_CLONES void rms_norm_backward_cpu(const RmsNormBackward<double>& args) {
  backward_blocks(args);
}

}  // namespace vmla::kernels
