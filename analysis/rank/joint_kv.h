#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "analysis/rank/rank_tracker.h"

/// The joint operator [W_K; W_V] of a dense layer: what one latent shared by keys and values would
/// have to carry (docs/algorithms.md 13.7). Raw weights: no norm gain, no bias.
namespace vmla::analysis {

/// W_K [rows, D] and W_V [rows, D], any float dtype and device.
struct DenseKv {
  at::Tensor k, v;
};

/// Their Gram matrices, [D, D], fp64, CPU: that of the joint operator is their sum.
struct KvGrams {
  at::Tensor k_DD, v_DD;
  int64_t k_rows = 0, v_rows = 0;
};
KvGrams kv_grams(const DenseKv& weights);

/// Of the same weights with the entries of W_K permuted among themselves, and those of W_V; the
/// layer's number seeds the permutations.
KvGrams permuted_kv_grams(const DenseKv& weights, int64_t layer);

/// The min(rows, D) singular values of the matrix whose Gram matrix this is: [D, D], fp64, CPU.
Spectrum spectrum_of_rows(const at::Tensor& gram_DD, int64_t rows);

/// Those of [W_K; W_V]. Values near zero err by up to 1e-8 s_1.
Spectrum joint_spectrum(const KvGrams& grams);

/// The joint operator's spectrum and ranks of every layer, in order; LayerRank::rank is the number
/// of its singular values. Reads the weights only. Layers are computed side by side.
std::vector<LayerRank> measure_joint(const std::vector<DenseKv>& layers);

/// What such layers without structure have: `shuffled` (permuted_kv_grams) and `gaussian`
/// (gaussian_rows_spectrum, a draw of its own for each layer), of the weights at `step`. The other
/// nulls belong to latents and stay empty.
RankNulls joint_nulls(const std::vector<DenseKv>& layers, int64_t step);

}  // namespace vmla::analysis
