#include "analysis/rank/joint_kv.h"

#include "analysis/rank/random_spectra.h"
#include "model/conversion/side_by_side.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::analysis {
namespace {

/// Seeds of the permutations: one for each weight of each layer.
uint64_t shuffle_seed(int64_t layer, bool of_values) {
  return 2 * static_cast<uint64_t>(layer) + (of_values ? 1 : 0);
}

at::Tensor gram_of(const at::Tensor& weight_RD) {
  const at::Tensor matrix = weight_RD.detach().to(at::kDouble);
  return matrix.t().mm(matrix).cpu();
}

at::Tensor row_norms(const DenseKv& weights) {
  return at::cat({weights.k, weights.v}).detach().to(at::kCPU, at::kDouble).norm(2, {1});
}

}  // namespace

KvGrams kv_grams(const DenseKv& weights) {
  return {.k_DD = gram_of(weights.k),
          .v_DD = gram_of(weights.v),
          .k_rows = weights.k.size(0),
          .v_rows = weights.v.size(0)};
}

KvGrams permuted_kv_grams(const DenseKv& weights, int64_t layer) {
  return kv_grams({.k = shuffled_entries(weights.k, shuffle_seed(layer, false)),
                   .v = shuffled_entries(weights.v, shuffle_seed(layer, true))});
}

Spectrum spectrum_of_rows(const at::Tensor& gram_DD, int64_t rows) {
  Spectrum spectrum = spectrum_of_gram(gram_DD);
  // A Gram matrix has as many eigenvalues as columns, a matrix with fewer rows fewer values.
  spectrum.resize(static_cast<size_t>(std::min<int64_t>(rows, gram_DD.size(0))));
  return spectrum;
}

Spectrum joint_spectrum(const KvGrams& grams) {
  return spectrum_of_rows(grams.k_DD + grams.v_DD, grams.k_rows + grams.v_rows);
}

std::vector<LayerRank> measure_joint(const std::vector<DenseKv>& layers) {
  std::vector<LayerRank> ranks(layers.size());
  model::side_by_side(static_cast<int64_t>(layers.size()), [&](int64_t layer) {
    const auto i = static_cast<size_t>(layer);
    ranks[i] = layer_rank(joint_spectrum(kv_grams(layers[i])));
  });
  return ranks;
}

RankNulls joint_nulls(const std::vector<DenseKv>& layers, int64_t step) {
  RankNulls nulls{.shuffled_step = step};
  nulls.shuffled.resize(layers.size());
  nulls.gaussian.resize(layers.size());
  model::side_by_side(static_cast<int64_t>(layers.size()), [&](int64_t layer) {
    const auto i = static_cast<size_t>(layer);
    nulls.shuffled[i] = layer_rank(joint_spectrum(permuted_kv_grams(layers[i], layer)));
    nulls.gaussian[i] = layer_rank(gaussian_rows_spectrum(
        row_norms(layers[i]), layers[i].k.size(1), static_cast<uint64_t>(layer)));
  });
  return nulls;
}

}  // namespace vmla::analysis
