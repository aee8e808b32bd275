#include "kernels/modulate/modulate_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

// to = x + gate * update; a gate of null is 1.
template <class T>
VMLA_INLINE void add_update(const T* x, const T* update, const T* gate, T* to, int64_t D) {
  if (gate == nullptr) {
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < D; ++d) to[d] = x[d] + update[d];
  } else {
    VMLA_INDEPENDENT
    for (int64_t d = 0; d < D; ++d) to[d] = x[d] + gate[d] * update[d];
  }
}

// The variance takes a second pass over the row, which lies in the L1 cache: sums of squares would
// lose the digits of rows whose mean is large.
template <class T>
VMLA_INLINE void forward_frames(const LayerNormModulateParams& p) {
  const int64_t D = p.D;
  const T offset = static_cast<T>(p.scale_offset);
  for (int64_t f = 0; f < p.frames; ++f) {
    const T* shift = static_cast<const T*>(p.shift) + f * p.shift_stride;
    const T* scale = static_cast<const T*>(p.scale) + f * p.scale_stride;
    const T* gate = p.gate ? static_cast<const T*>(p.gate) + f * p.gate_stride : nullptr;
    for (int64_t s = 0; s < p.S; ++s) {
      const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
      T* y = static_cast<T*>(p.y) + (f * p.S + s) * D;
      if (p.update) {
        T* to = static_cast<T*>(p.sum) + (f * p.S + s) * D;
        const int64_t place = f * p.update_frame_stride + s * p.update_token_stride;
        add_update(x, static_cast<const T*>(p.update) + place, gate, to, D);
        x = to;
      }
      T sum = 0;
      for (int64_t d = 0; d < D; ++d) sum += x[d];
      const T mean = sum / static_cast<T>(D);
      T squares = 0;
      for (int64_t d = 0; d < D; ++d) squares += (x[d] - mean) * (x[d] - mean);
      const T rstd = 1 / std::sqrt(squares / static_cast<T>(D) + static_cast<T>(p.eps));
      static_cast<T*>(p.mean)[f * p.S + s] = mean;
      static_cast<T*>(p.rstd)[f * p.S + s] = rstd;
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) {
        y[d] = (x[d] - mean) * rstd * (offset + scale[d]) + shift[d];
      }
    }
  }
}

// With h = (x - mean) * rstd and g = dy * (scale_offset + scale):
// dx = rstd * (g - mean(g) - h * mean(g * h)).
template <class T>
VMLA_INLINE void backward_frames(const LayerNormModulateBackwardParams& p) {
  const int64_t D = p.D;
  const T offset = static_cast<T>(p.scale_offset);
  for (int64_t f = 0; f < p.frames; ++f) {
    const T* scale = static_cast<const T*>(p.scale) + f * p.scale_stride;
    T* dshift = static_cast<T*>(p.grad_shift) + f * D;
    T* dscale = static_cast<T*>(p.grad_scale) + f * D;
    std::fill(dshift, dshift + D, T{0});
    std::fill(dscale, dscale + D, T{0});
    for (int64_t s = 0; s < p.S; ++s) {
      const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
      const T* dy =
          static_cast<const T*>(p.grad_y) + f * p.grad_y_frame_stride + s * p.grad_y_token_stride;
      T* dx = static_cast<T*>(p.grad_x) + (f * p.S + s) * D;
      const T mean = static_cast<const T*>(p.mean)[f * p.S + s];
      const T rstd = static_cast<const T*>(p.rstd)[f * p.S + s];
      T sum_g = 0;
      T sum_gx = 0;
      for (int64_t d = 0; d < D; ++d) {
        const T g = dy[d] * (offset + scale[d]);
        sum_g += g;
        sum_gx += g * (x[d] - mean);
      }
      const T mean_g = sum_g / static_cast<T>(D);
      const T mean_gh = sum_gx * rstd / static_cast<T>(D);
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) {
        const T h = (x[d] - mean) * rstd;
        dx[d] = rstd * (dy[d] * (offset + scale[d]) - mean_g - h * mean_gh);
        dshift[d] += dy[d];
        dscale[d] += dy[d] * h;
      }
      if (p.grad_sum) {
        const T* more = static_cast<const T*>(p.grad_sum) + f * p.grad_sum_frame_stride +
                        s * p.grad_sum_token_stride;
        VMLA_INDEPENDENT
        for (int64_t d = 0; d < D; ++d) dx[d] += more[d];
      }
    }
  }
}

template <class T>
VMLA_INLINE void gate_frames(const GatedResidualParams& p) {
  const int64_t D = p.D;
  for (int64_t f = 0; f < p.frames; ++f) {
    const T* gate = static_cast<const T*>(p.gate) + f * p.gate_stride;
    for (int64_t s = 0; s < p.S; ++s) {
      const T* x = static_cast<const T*>(p.x) + f * p.x_frame_stride + s * p.x_token_stride;
      const T* y = static_cast<const T*>(p.y) + f * p.y_frame_stride + s * p.y_token_stride;
      T* out = static_cast<T*>(p.out) + (f * p.S + s) * D;
      add_update(x, y, gate, out, D);
    }
  }
}

template <class T>
VMLA_INLINE void gate_frames_backward(const GatedResidualBackwardParams& p) {
  const int64_t D = p.D;
  for (int64_t f = 0; f < p.frames; ++f) {
    const T* gate = static_cast<const T*>(p.gate) + f * p.gate_stride;
    T* dgate = static_cast<T*>(p.grad_gate) + f * D;
    std::fill(dgate, dgate + D, T{0});
    for (int64_t s = 0; s < p.S; ++s) {
      const T* g =
          static_cast<const T*>(p.grad) + f * p.grad_frame_stride + s * p.grad_token_stride;
      const T* y = static_cast<const T*>(p.y) + f * p.y_frame_stride + s * p.y_token_stride;
      T* dy = static_cast<T*>(p.grad_y) + (f * p.S + s) * D;
      VMLA_INDEPENDENT
      for (int64_t d = 0; d < D; ++d) {
        dy[d] = g[d] * gate[d];
        dgate[d] += g[d] * y[d];
      }
    }
  }
}

}  // namespace

VMLA_CLONES void layer_norm_modulate_cpu(const LayerNormModulateParams& params) {
  if (params.element == Element::kDouble) return forward_frames<double>(params);
  forward_frames<float>(params);
}
VMLA_CLONES void layer_norm_modulate_backward_cpu(const LayerNormModulateBackwardParams& params) {
  if (params.element == Element::kDouble) return backward_frames<double>(params);
  backward_frames<float>(params);
}
VMLA_CLONES void gated_residual_cpu(const GatedResidualParams& params) {
  if (params.element == Element::kDouble) return gate_frames<double>(params);
  gate_frames<float>(params);
}
VMLA_CLONES void gated_residual_backward_cpu(const GatedResidualBackwardParams& params) {
  if (params.element == Element::kDouble) return gate_frames_backward<double>(params);
  gate_frames_backward<float>(params);
}

}  // namespace vmla::kernels
