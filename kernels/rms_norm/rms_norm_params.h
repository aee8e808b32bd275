#pragma once

#include <cstdint>

#include "kernels/element.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {

/// x [rows, D] with a row stride and dense rows.
struct RmsNormRows {
  const void* x = nullptr;
  int64_t x_stride = 0;
  const void* weight = nullptr;  // [D]
  void* y = nullptr;             // [rows, D]
  void* rstd = nullptr;          // [rows], 1 / sqrt(mean(x^2) + eps)
  int64_t rows = 0, D = 0;
};
/// `element` is what x, y and their gradients hold, `weight_element` what the weight and its
/// gradient do. Statistics and sums are fp32, or fp64 where x is.
struct RmsNormParams {
  Element element, weight_element;
  RmsNormRows first, second;  // rows of two widths in one pass; no second rows: one width
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
