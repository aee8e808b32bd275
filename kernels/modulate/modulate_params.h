#pragma once

#include <cstdint>

#include "kernels/element.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {

/// x [frames, S, D]: frame and token strides, dense channels. shift, scale, gate: one row of D a
/// frame. `element` is what x, sums and their gradients hold, `y_element` what y, the update and
/// their gradients do (that of x, or bf16 beside x in fp32), `row_element` what shift, scale, gate
/// and their gradients do. Statistics are fp32, or fp64 where x is.
struct LayerNormModulateParams {
  Element element, y_element, row_element;
  const void* x;
  int64_t x_frame_stride, x_token_stride;
  /// What is added to x first, times the gate; the sum is what is normalised. Null: x itself is,
  /// and there is no gate and no sum.
  const void* update = nullptr;
  int64_t update_frame_stride = 0, update_token_stride = 0;
  const void* gate = nullptr;  // null: 1
  int64_t gate_stride = 0;
  void* sum = nullptr;  // [frames, S, D]
  const void* shift;
  int64_t shift_stride;
  const void* scale;
  int64_t scale_stride;
  float scale_offset = 1;  // y = h * (scale_offset + scale) + shift
  void* y;                 // [frames, S, D]
  void* mean;              // [frames, S]
  void* rstd;              // [frames, S], 1 / sqrt(variance + eps)
  int64_t frames, S, D;
  double eps;
};

struct LayerNormModulateBackwardParams {
  Element element, y_element, row_element;
  const void* grad_y;
  int64_t grad_y_frame_stride, grad_y_token_stride;
  const void* x;
  int64_t x_frame_stride, x_token_stride;
  /// What else comes in for x, and is added to its gradient. Null: nothing.
  const void* grad_sum = nullptr;
  int64_t grad_sum_frame_stride = 0, grad_sum_token_stride = 0;
  const void* scale;
  int64_t scale_stride;
  float scale_offset = 1;
  const void* mean;     // [frames, S]
  const void* rstd;     // [frames, S]
  void* grad_x;         // [frames, S, D]
  void* grad_shift;     // [frames, D]
  void* grad_scale;     // [frames, D]
  float* partial_sums;  // [2, frames, token_chunks(S), D], scratch; null on the CPU
  int64_t frames, S, D;
};

struct GatedResidualParams {
  Element element, y_element, row_element;
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
  Element element, y_element, row_element;
  const void* grad;
  int64_t grad_frame_stride, grad_token_stride;
  const void* y;
  int64_t y_frame_stride, y_token_stride;
  const void* gate;
  int64_t gate_stride;
  void* grad_y;         // [frames, S, D]
  void* grad_gate;      // [frames, D]
  float* partial_sums;  // [frames, token_chunks(S), D], scratch; null on the CPU
  int64_t frames, S, D;
};

}  // namespace vmla::kernels
