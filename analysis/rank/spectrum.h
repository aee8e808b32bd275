#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// Singular spectra and the ranks read off them (docs/algorithms.md 13.2).
namespace vmla::analysis {

/// Singular values in descending order, fp64.
using Spectrum = std::vector<double>;

/// The share of the energy (sum of squared singular values) that r_0.99 keeps.
inline constexpr double kRankEnergy = 0.99;

/// What one spectrum s_1 >= s_2 >= ... says about the rank of its matrix: four answers to "how many
/// directions does it use", each between 0 and the number of values (0 for a matrix of zeros). More
/// is not better: a rank near that of the null baseline (rank_tracker.h) says that nothing but the
/// shapes decides it, a lower one that the weights use fewer directions than they could.
struct EffectiveRank {
  /// r_0.99: the least r whose first r values hold at least 99 % of the energy, the sum of s^2.
  /// Insensitive to a long tail of small values.
  int64_t r99 = 0;
  /// The same with a fraction, in (r99 - 1, r99]; see fractional_rank().
  double r99_fractional = 0;
  /// The stable rank, sum s^2 / s_1^2 = |A|_F^2 / |A|_2^2, 1 or more (Rudelson and Vershynin, J.
  /// ACM 54, 2007). Small where one direction dominates.
  double stable_rank = 0;
  /// The entropy rank, exp(-sum p ln p) with p = s^2 / sum s^2, 1 or more: how many equal values
  /// have the same entropy. After Roy and Vetterli (EUSIPCO 2007), whose p is s / sum s.
  double entropy_rank = 0;
};

/// The min(m, n) singular values of `matrix_mn` ([m, n], any float dtype), computed in fp64 on the
/// CPU. A matrix at least twice as long as wide (or the reverse) goes through the eigenvalues of
/// its small Gram matrix: several times faster, with an absolute error of about 1e-8 s_1 (the
/// square root of fp64's epsilon) on values near zero. Others take the full SVD.
Spectrum singular_values(const at::Tensor& matrix_mn);

/// Square roots of the eigenvalues of the symmetric positive semi-definite `gram_nn` ([n, n], fp64,
/// CPU), descending. Eigenvalues that rounding has made negative count as zero.
Spectrum spectrum_of_gram(const at::Tensor& gram_nn);

/// All four ranks of a spectrum. A spectrum without energy (all zero, or empty) has rank 0 in every
/// sense.
EffectiveRank effective_rank(const Spectrum& spectrum);

/// r_energy with a fraction: the point where the cumulative energy, taken as piecewise linear
/// between whole ranks, reaches `energy` (0..1) of the total. Its ceiling is the whole-number rank,
/// and it moves smoothly as weights train.
double fractional_rank(const Spectrum& spectrum, double energy);

/// The share of sum s^2 in the first `rank` values: 0 at rank 0, 1 from the full rank on.
double energy_at(const Spectrum& spectrum, int64_t rank);

}  // namespace vmla::analysis
