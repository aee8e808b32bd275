#include "kernels/modulate/modulate_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

// The variance takes a second pass over the row, which lies in the L1 cache: sums of squares would
// lose the digits of rows whose mean is large.
template <class T>
VMLA_INLINE void forward_frames(const LayerNormModulateForward<T>& a) {
  const int64_t D = a.D;
  for (int64_t f = 0; f < a.frames; ++f) {
    const T* shift = a.shift + f * a.shift_stride;
    const T* scale = a.scale + f * a.scale_stride;
    for (int64_t s = 0; s < a.S; ++s) {
      const T* x = a.x + f * a.x_frame_stride + s * a.x_token_stride;
      T* y = a.y + (f * a.S + s) * D;
      T sum = 0;
      for (int64_t d = 0; d < D; ++d) sum += x[d];
      const T mean = sum / static_cast<T>(D);
      T squares = 0;
      for (int64_t d = 0; d < D; ++d) squares += (x[d] - mean) * (x[d] - mean);
      const T rstd = 1 / std::sqrt(squares / static_cast<T>(D) + static_cast<T>(a.eps));
      a.mean[f * a.S + s] = mean;
      a.rstd[f * a.S + s] = rstd;
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) y[d] = (x[d] - mean) * rstd * (1 + scale[d]) + shift[d];
    }
  }
}

// With h = (x - mean) * rstd and g = dy * (1 + scale): dx = rstd * (g - mean(g) - h * mean(g * h)).
template <class T>
VMLA_INLINE void backward_frames(const LayerNormModulateBackward<T>& a) {
  const int64_t D = a.D;
  for (int64_t f = 0; f < a.frames; ++f) {
    const T* scale = a.scale + f * a.scale_stride;
    T* dshift = a.grad_shift + f * D;
    T* dscale = a.grad_scale + f * D;
    std::fill(dshift, dshift + D, T{0});
    std::fill(dscale, dscale + D, T{0});
    for (int64_t s = 0; s < a.S; ++s) {
      const T* x = a.x + f * a.x_frame_stride + s * a.x_token_stride;
      const T* dy = a.grad_y + f * a.grad_y_frame_stride + s * a.grad_y_token_stride;
      T* dx = a.grad_x + (f * a.S + s) * D;
      const T mean = a.mean[f * a.S + s];
      const T rstd = a.rstd[f * a.S + s];
      T sum_g = 0;
      T sum_gx = 0;
      for (int64_t d = 0; d < D; ++d) {
        const T g = dy[d] * (1 + scale[d]);
        sum_g += g;
        sum_gx += g * (x[d] - mean);
      }
      const T mean_g = sum_g / static_cast<T>(D);
      const T mean_gh = sum_gx * rstd / static_cast<T>(D);
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) {
        const T h = (x[d] - mean) * rstd;
        dx[d] = rstd * (dy[d] * (1 + scale[d]) - mean_g - h * mean_gh);
        dshift[d] += dy[d];
        dscale[d] += dy[d] * h;
      }
    }
  }
}

template <class T>
VMLA_INLINE void gate_frames(const GatedResidualForward<T>& a) {
  const int64_t D = a.D;
  for (int64_t f = 0; f < a.frames; ++f) {
    const T* gate = a.gate + f * a.gate_stride;
    for (int64_t s = 0; s < a.S; ++s) {
      const T* x = a.x + f * a.x_frame_stride + s * a.x_token_stride;
      const T* y = a.y + f * a.y_frame_stride + s * a.y_token_stride;
      T* out = a.out + (f * a.S + s) * D;
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) out[d] = x[d] + gate[d] * y[d];
    }
  }
}

template <class T>
VMLA_INLINE void gate_frames_backward(const GatedResidualBackward<T>& a) {
  const int64_t D = a.D;
  for (int64_t f = 0; f < a.frames; ++f) {
    const T* gate = a.gate + f * a.gate_stride;
    T* dgate = a.grad_gate + f * D;
    std::fill(dgate, dgate + D, T{0});
    for (int64_t s = 0; s < a.S; ++s) {
      const T* g = a.grad + f * a.grad_frame_stride + s * a.grad_token_stride;
      const T* y = a.y + f * a.y_frame_stride + s * a.y_token_stride;
      T* dy = a.grad_y + (f * a.S + s) * D;
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) {
        dy[d] = g[d] * gate[d];
        dgate[d] += g[d] * y[d];
      }
    }
  }
}

}  // namespace

VMLA_CLONES void layer_norm_modulate_cpu(const LayerNormModulateForward<float>& args) {
  forward_frames(args);
}
VMLA_CLONES void layer_norm_modulate_cpu(const LayerNormModulateForward<double>& args) {
  forward_frames(args);
}
VMLA_CLONES void layer_norm_modulate_backward_cpu(const LayerNormModulateBackward<float>& args) {
  backward_frames(args);
}
VMLA_CLONES void layer_norm_modulate_backward_cpu(const LayerNormModulateBackward<double>& args) {
  backward_frames(args);
}
VMLA_CLONES void gated_residual_cpu(const GatedResidualForward<float>& args) {
  gate_frames(args);
}
VMLA_CLONES void gated_residual_cpu(const GatedResidualForward<double>& args) {
  gate_frames(args);
}
VMLA_CLONES void gated_residual_backward_cpu(const GatedResidualBackward<float>& args) {
  gate_frames_backward(args);
}
VMLA_CLONES void gated_residual_backward_cpu(const GatedResidualBackward<double>& args) {
  gate_frames_backward(args);
}

}  // namespace vmla::kernels
