#pragma once

#include <cstdint>

#include "kernels/element.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {

/// x [rows, D] with a row stride and dense rows. `element` is what x, y
/// and their gradients hold, `weight_element` what the weight and its gradient do. Statistics and
/// sums are fp32, or fp64 where x is.
struct RmsNormParams {
  Element element, weight_element;
  const void* x;
  int64_t x_stride;
  const void* weight;  // [D]
  void* y;             // [rows, D]
  void* rstd;          // [rows], 1 / sqrt(mean(x^2) + eps)
  int64_t rows, D;
  double eps;
};

struct RmsNormBackwardParams {
  Element element, weight_element;
  const void* grad_y;
  int64_t grad_y_stride;
  const void* x;
  int64_t x_stride;
  const void* weight;  // [D]
  const void* rstd;    // [rows]
  void* grad_x;        // [rows, D]
  void* grad_weight;   // [D], overwritten
  void* partial_sums;  // [token_chunks(rows), D], scratch
  int64_t rows, D;
};

}  // namespace vmla::kernels
