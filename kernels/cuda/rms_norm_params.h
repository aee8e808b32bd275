#pragma once

#include <cstdint>

#include "kernels/cuda/element.h"

namespace vmla::kernels::cuda {

/// Rows of a matrix that need not touch each other; a row itself is dense. `element` is what x, y
/// and their gradients hold, `weight_element` what the weight and its gradient do: fp32, or as x.
struct RmsNormParams {
  Element element, weight_element;
  const void* x;
  int64_t x_stride;
  const void* weight;  // [D]
  void* y;             // [rows, D]
  float* rstd;         // [rows]
  int64_t rows, D;
  float eps;
};

struct RmsNormBackwardParams {
  Element element, weight_element;
  const void* grad_y;
  int64_t grad_y_stride;
  const void* x;
  int64_t x_stride;
  const void* weight;   // [D]
  const float* rstd;    // [rows]
  void* grad_x;         // [rows, D]
  void* grad_weight;    // [D]
  float* partial_sums;  // [token_chunks(rows), D], scratch
  int64_t rows, D;
};

}  // namespace vmla::kernels::cuda
