#include "kernels/rms_norm/rms_norm_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu_clones.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {
namespace {

template <class T>
VMLA_INLINE void forward_rows(const RmsNormRows& p, double eps) {
  const int64_t D = p.D;
  const T* weight = static_cast<const T*>(p.weight);
  T* rstds = static_cast<T*>(p.rstd);
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* x = static_cast<const T*>(p.x) + row * p.x_stride;
    T* y = static_cast<T*>(p.y) + row * D;
    T squares = 0;
    for (int64_t d = 0; d < D; ++d) squares += x[d] * x[d];
    const T rstd = 1 / std::sqrt(squares / static_cast<T>(D) + static_cast<T>(eps));
    rstds[row] = rstd;
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < D; ++d) y[d] = x[d] * rstd * weight[d];
  }
}

// With h = x * rstd and g = dy * w: dx = rstd * (g - h * mean(g * h)), and dw gains dy * h.
template <class T>
VMLA_INLINE void backward_rows(const RmsNormBackwardParams& p,
                               int64_t begin,
                               int64_t end,
                               T* sums) {
  const int64_t D = p.D;
  const T* weight = static_cast<const T*>(p.weight);
  std::fill(sums, sums + D, T{0});
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(p.x) + row * p.x_stride;
    const T* dy = static_cast<const T*>(p.grad_y) + row * p.grad_y_stride;
    T* dx = static_cast<T*>(p.grad_x) + row * D;
    T* dw = sums;
    const T rstd = static_cast<const T*>(p.rstd)[row];
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

// The weight's gradient is summed by chunks of rows, then over the chunks.
template <class T>
VMLA_INLINE void backward_chunks(const RmsNormBackwardParams& p) {
  const int64_t D = p.D;
  const int64_t chunks = token_chunks(p.rows);
  T* partial = static_cast<T*>(p.partial_sums);
  for (int64_t c = 0; c < chunks; ++c) {
    backward_rows(p, p.rows * c / chunks, p.rows * (c + 1) / chunks, partial + c * D);
  }
  T* dw = static_cast<T*>(p.grad_weight);
  std::fill(dw, dw + D, T{0});
  for (int64_t c = 0; c < chunks; ++c) {
    const T* sums = partial + c * D;
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < D; ++d) dw[d] += sums[d];
  }
}

}  // namespace

VMLA_CLONES void rms_norm_cpu(const RmsNormParams& params) {
  for (const RmsNormRows& rows : {params.first, params.second}) {
    if (params.element == Element::kDouble) {
      forward_rows<double>(rows, params.eps);
    } else {
      forward_rows<float>(rows, params.eps);
    }
  }
}
VMLA_CLONES void rms_norm_backward_cpu(const RmsNormBackwardParams& params) {
  if (params.element == Element::kDouble) return backward_chunks<double>(params);
  backward_chunks<float>(params);
}

}  // namespace vmla::kernels
