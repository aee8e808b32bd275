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
/// the Gram matrix of the smaller side: within 1e-7 of the least error. Ranks beyond the matrix'
/// own are padded with zeros.
LowRank truncated_svd(const at::Tensor& matrix, int64_t rank);

/// The approximation of rank r with the least E ||(matrix - up down) x||², x of second moment
/// `moment` [n, n] (docs/algorithms.md 5.6): the SVD of matrix L, where moment = L Lᵀ, and L taken
/// out again. Energy and error are those of matrix L. So that directions without inputs keep their
/// weights where the rank allows it, 1e-8 of the mean eigenvalue is added to the moment.
LowRank whitened_svd(const at::Tensor& matrix, const at::Tensor& moment, int64_t rank);

/// L of moment = L Lᵀ, lower triangular, with that addition. [n, n], fp64.
at::Tensor whitening_factor(const at::Tensor& moment);

/// ||matrix||², in the matrix's dtype and without a copy where it is contiguous.
double sum_of_squares(const at::Tensor& matrix);

/// E ||matrix x||² for x of that second moment.
double energy_of(const at::Tensor& matrix, const at::Tensor& moment);

}  // namespace vmla::model
