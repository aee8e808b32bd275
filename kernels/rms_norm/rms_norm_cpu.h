#pragma once

#include <cstdint>

namespace vmla::kernels {

/// Rows of a matrix that need not touch each other; a row itself is dense.
template <class T>
struct RmsNormForward {
  const T* x;
  int64_t x_stride;
  const T* weight;  // [D]
  T* y;             // [rows, D]
  T* rstd;          // [rows]
  int64_t rows, D;
  double eps;
};

template <class T>
struct RmsNormBackward {
  const T* grad_y;
  int64_t grad_y_stride;
  const T* x;
  int64_t x_stride;
  const T* weight;  // [D]
  const T* rstd;    // [rows]
  T* grad_x;        // [rows, D]
  T* grad_weight;   // [D], overwritten
  T* block_sums;    // [rms_norm_blocks(rows), D], scratch
  int64_t rows, D;
};

/// The weight's gradient is summed by blocks of rows and then over the blocks: a number that
/// depends on rows alone.
int64_t rms_norm_blocks(int64_t rows);

/// One pass over memory each. Statistics and sums in T.
void rms_norm_cpu(const RmsNormForward<float>& args);
void rms_norm_cpu(const RmsNormForward<double>& args);
void rms_norm_backward_cpu(const RmsNormBackward<float>& args);
void rms_norm_backward_cpu(const RmsNormBackward<double>& args);

}  // namespace vmla::kernels
