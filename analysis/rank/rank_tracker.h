#pragma once

#include "analysis/rank/spectrum.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <vector>

namespace vmla::analysis {

/// The weights of one MLA layer that the composed map is made of. Any float dtype, any device.
struct LatentProjections {
  /// [N*(K_nope+V), R], kv_b_proj.weight.
  at::Tensor kv_b;
  /// [R], kv_a_layernorm.weight.
  at::Tensor kv_gain;
  /// [R+P, D], kv_a_proj_with_mqa.weight; the last P rows (shared rope key) are not used.
  at::Tensor kv_a;
};

/// One layer's spectrum and its ranks.
struct LayerRank {
  /// R, the layer's rank budget.
  int64_t rank = 0;
  /// R values, descending; those beyond min(N*(K_nope+V), D) are zero.
  Spectrum spectrum = {};
  EffectiveRank effective = {};
};
/// A layer of this spectrum, whose budget is as many values as there are, with its ranks.
LayerRank layer_rank(Spectrum spectrum);

/// Spectrum of kv_b · diag(kv_gain) · kv_a[first R rows] (biases left out; docs/algorithms.md
/// 13.1).
///
/// The map is never formed: with A = kv_b, B = diag(gain)·kv_a and any L with L·Lᵀ = B·Bᵀ, the
/// singular values of A·B are the square roots of the eigenvalues of Lᵀ(AᵀA)L, an R x R problem
/// (docs/algorithms.md 13.3). L is the Cholesky factor, or the symmetric square root where B·Bᵀ is
/// singular (dead or repeated latents). All in fp64: Grams in fp32 would cost 2e-4 of s_1. Error:
/// about 1e-8 |A||B| on values near zero, far less above. R x R work runs on the CPU, the two Grams
/// where the weights are. Throws c10::Error on shapes that disagree.
LayerRank composed_rank(const LatentProjections& layer);

/// The same map written out in fp64 and given to a full SVD; the reference of tests and benchmarks.
Spectrum composed_spectrum_reference(const LatentProjections& layer);

/// Ranks of A·B from Aᵀ·A and B·Bᵀ, both [R, R], fp64, CPU: the last step of composed_rank(), also
/// where the second is a covariance.
LayerRank rank_of_grams(const at::Tensor& up_gram_RR, const at::Tensor& down_gram_RR);

/// What layers without structure have (docs/algorithms.md 13.4), one entry a layer.
struct RankNulls {
  /// RankTracker::null_baseline().
  std::vector<LayerRank> product = {};
  /// The first R singular values of one Gaussian matrix of the composed map's shape.
  std::vector<LayerRank> truncated = {};
  /// Of the layers' own factors kv_b and diag(gain)·kv_a with their entries permuted; of dense
  /// layers, W_K's and W_V's.
  std::vector<LayerRank> shuffled = {};
  /// Of a dense layer's [W_K; W_V] alone: independent normals in rows as long as the layer's own.
  std::vector<LayerRank> gaussian = {};
  /// At which step the weights were permuted; -1: there are none.
  int64_t shuffled_step = -1;
  /// R / D: the overlap (subspace_overlap) of a random subspace with any other.
  std::vector<double> isotropic_overlap = {};
};

/// Measures every layer and keeps the null baselines: the ranks that mere random matrices of the
/// same shapes have (docs/algorithms.md 13.4).
class RankTracker {
 public:
  /// `null_seed` decides the null's draws; runs that are compared should share it.
  explicit RankTracker(uint64_t null_seed = 0) : null_seed_(null_seed) {}

  /// One entry a layer, in order. Reads the weights only.
  std::vector<LayerRank> measure(const std::vector<LatentProjections>& layers) const;

  /// The product of two Gaussian matrices of the shapes of `layer` with gain 1, computed once a
  /// shape (kernels/counter_rng, Purpose::kNull). Entries are independent and of unit variance, so
  /// that only ranks and normalised spectra compare, not scales. A layer whose r_0.99 is near the
  /// null's shows the bottleneck's rank, not the data's.
  const LayerRank& null_baseline(const LatentProjections& layer);

  /// All nulls of `layers`, the weights at `step`. Random products and truncated SVDs are computed
  /// once a shape, permuted entries once a layer: about the time of a measurement, and for the
  /// truncated SVD that of the eigenvalues of a D x D matrix.
  RankNulls nulls(const std::vector<LatentProjections>& layers, int64_t step);

 private:
  const LayerRank& truncated_null(const LatentProjections& layer);

  uint64_t null_seed_;
  std::map<std::array<int64_t, 3>, LayerRank> nulls_;  // by (rows of kv_b, R, D)
  std::map<std::array<int64_t, 3>, LayerRank> truncated_;
};

}  // namespace vmla::analysis
