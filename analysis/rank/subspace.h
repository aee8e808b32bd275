#pragma once

#include <ATen/core/Tensor.h>

#include "analysis/rank/spectrum.h"

/// How far a subspace has turned (docs/algorithms.md 13.6).
namespace vmla::analysis {

/// An orthonormal basis of what the rows of `matrix_rd` span: [min(r, d), d], fp64, CPU. Of rows
/// that are not independent, directions outside their span fill up the rest.
at::Tensor row_space(const at::Tensor& matrix_rd);

/// The cosines of the principal angles between the spaces of two orthonormal bases, descending from
/// 1 at most: the singular values of A Bᵀ (Björck and Golub, Math. Comp. 27, 1973). Cosines near 0
/// err by up to 1e-8.
Spectrum principal_cosines(const at::Tensor& a_rd, const at::Tensor& b_rd);

/// The mean squared cosine, the share of one space that lies in the other: 1 for equal spaces, 0
/// for orthogonal ones, r / d on average where one of them is of r dimensions in d, at random.
double subspace_overlap(const Spectrum& cosines);

}  // namespace vmla::analysis
