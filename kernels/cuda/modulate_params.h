#pragma once

#include <cstdint>

#include "kernels/cuda/element.h"

namespace vmla::kernels::cuda {

/// x [frames, S, D]: frame and token strides, dense channels. shift, scale, gate: one row of D a
/// frame. `element` is what x, y and their gradients hold, `row_element` what shift, scale, gate
/// and their gradients do: fp32, or as x.
struct LayerNormModulateParams {
  Element element, row_element;
  const void* x;
  int64_t x_frame_stride, x_token_stride;
  const void* shift;
  int64_t shift_stride;
  const void* scale;
  int64_t scale_stride;
  void* y;      // [frames, S, D]
  float* mean;  // [frames, S]
  float* rstd;  // [frames, S]
  int64_t frames, S, D;
  float eps;
};

struct LayerNormModulateBackwardParams {
  Element element, row_element;
  const void* grad_y;
  int64_t grad_y_frame_stride, grad_y_token_stride;
  const void* x;
  int64_t x_frame_stride, x_token_stride;
  const void* scale;
  int64_t scale_stride;
  const float* mean;    // [frames, S]
  const float* rstd;    // [frames, S]
  void* grad_x;         // [frames, S, D]
  void* grad_shift;     // [frames, D]
  void* grad_scale;     // [frames, D]
  float* partial_sums;  // [2, frames, token_chunks(S), D], scratch
  int64_t frames, S, D;
};

struct GatedResidualParams {
  Element element, row_element;
  const void* x;
  int64_t x_frame_stride, x_token_stride;
  const void* y;
  int64_t y_frame_stride, y_token_stride;
  const void* gate;
  int64_t gate_stride;
  void* out;  // [frames, S, D]
  int64_t frames, S, D;
};

struct GatedResidualBackwardParams {
  Element element, row_element;
  const void* grad;
  int64_t grad_frame_stride, grad_token_stride;
  const void* y;
  int64_t y_frame_stride, y_token_stride;
  const void* gate;
  int64_t gate_stride;
  void* grad_y;         // [frames, S, D]
  void* grad_gate;      // [frames, D]
  float* partial_sums;  // [frames, token_chunks(S), D], scratch
  int64_t frames, S, D;
};

}  // namespace vmla::kernels::cuda
