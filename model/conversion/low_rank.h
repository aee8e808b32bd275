#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// A matrix [m, n] as up [m, r] times down [r, n], fp64.
struct LowRank {
  at::Tensor up, down;
  double energy_kept;    // share of the squared singular values inside the rank
  double optimal_error;  // Eckart-Young: root of the squared singular values beyond the rank
};

/// The best approximation of rank r: down = S^1/2 V^T, up = U S^1/2 (docs/algorithms.md 5.1), from
/// the Gram matrix of the smaller side. Ranks beyond the matrix' own are padded with zeros.
LowRank truncated_svd(const at::Tensor& matrix, int64_t rank);

}  // namespace vmla::model
