#pragma once

#include <cstdint>

namespace vmla::kernels {

/// x [frames, S, D]: frame and token strides, dense channels. shift, scale: one row of D a frame.
template <class T>
struct LayerNormModulateForward {
  const T* x;
  int64_t x_frame_stride, x_token_stride;
  const T* shift;
  int64_t shift_stride;
  const T* scale;
  int64_t scale_stride;
  T* y;     // [frames, S, D]
  T* mean;  // [frames, S]
  T* rstd;  // [frames, S]
  int64_t frames, S, D;
  double eps;
};

template <class T>
struct LayerNormModulateBackward {
  const T* grad_y;  // strides as x
  int64_t grad_y_frame_stride, grad_y_token_stride;
  const T* x;
  int64_t x_frame_stride, x_token_stride;
  const T* scale;
  int64_t scale_stride;
  const T* mean;  // [frames, S]
  const T* rstd;  // [frames, S]
  T* grad_x;      // [frames, S, D]
  T* grad_shift;  // [frames, D]
  T* grad_scale;  // [frames, D]
  int64_t frames, S, D;
};

template <class T>
struct GatedResidualForward {
  const T* x;
  int64_t x_frame_stride, x_token_stride;
  const T* y;
  int64_t y_frame_stride, y_token_stride;
  const T* gate;
  int64_t gate_stride;
  T* out;  // [frames, S, D]
  int64_t frames, S, D;
};

template <class T>
struct GatedResidualBackward {
  const T* grad;
  int64_t grad_frame_stride, grad_token_stride;
  const T* y;
  int64_t y_frame_stride, y_token_stride;
  const T* gate;
  int64_t gate_stride;
  T* grad_y;     // [frames, S, D]
  T* grad_gate;  // [frames, D]
  int64_t frames, S, D;
};

/// One pass over memory each, sums in T, a frame at a time.
void layer_norm_modulate_cpu(const LayerNormModulateForward<float>& args);
void layer_norm_modulate_cpu(const LayerNormModulateForward<double>& args);
void layer_norm_modulate_backward_cpu(const LayerNormModulateBackward<float>& args);
void layer_norm_modulate_backward_cpu(const LayerNormModulateBackward<double>& args);
void gated_residual_cpu(const GatedResidualForward<float>& args);
void gated_residual_cpu(const GatedResidualForward<double>& args);
void gated_residual_backward_cpu(const GatedResidualBackward<float>& args);
void gated_residual_backward_cpu(const GatedResidualBackward<double>& args);

}  // namespace vmla::kernels
