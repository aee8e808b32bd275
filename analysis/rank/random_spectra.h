#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "analysis/rank/spectrum.h"

/// What matrices without structure look like: a measured spectrum says something only where it
/// differs from these (docs/algorithms.md 13.4).
namespace vmla::analysis {

/// The singular values of a [rows, columns] matrix of independent standard normals, one draw of
/// `seed` (kernels/counter_rng, Purpose::kNull). Its first r values are what a truncated SVD of
/// rank r keeps of it.
Spectrum gaussian_spectrum(int64_t rows, int64_t columns, uint64_t seed = 0);

/// The singular values of such a matrix whose rows are then made as long as `row_norms_m` says
/// ([m], fp64, CPU), [m, columns]: keeps how energy is spread over the rows of a matrix, and
/// nothing of the rows' directions.
Spectrum gaussian_rows_spectrum(const at::Tensor& row_norms_m, int64_t columns, uint64_t seed = 0);

/// The same numbers in another order: all entries of `matrix_mn` permuted, uniformly over all
/// orders, by a generator of `seed`. Keeps the distribution of the entries (its scale, its tails),
/// and nothing of rows, columns or their relations. [m, n], fp32 or fp64 as the matrix, CPU.
at::Tensor shuffled_entries(const at::Tensor& matrix_mn, uint64_t seed);

/// The Marchenko-Pastur edge, σ (√m + √n) with σ² = E / (m n): where the singular values of a large
/// m x n matrix of independent entries with the spectrum's energy E end (Marchenko and Pastur,
/// Math. USSR Sb. 1, 1967). Values above it are structure, but for one or two that fluctuate around
/// it.
double marchenko_pastur_edge(const Spectrum& spectrum, int64_t rows, int64_t columns);

/// How many values of the spectrum lie above `edge`.
int64_t values_above(const Spectrum& spectrum, double edge);

}  // namespace vmla::analysis
