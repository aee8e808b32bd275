#include "analysis/study/weight_spectra.h"

#include <ATen/ATen.h>

#include "analysis/rank/joint_kv.h"
#include "analysis/rank/random_spectra.h"
#include "model/conversion/side_by_side.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

/// The three matrices of a layer.
std::array<Spectrum, 3> three_spectra(const KvGrams& grams) {
  return {spectrum_of_rows(grams.k_DD, grams.k_rows),
          spectrum_of_rows(grams.v_DD, grams.v_rows),
          joint_spectrum(grams)};
}

MatrixSpectra matrix_spectra(Spectrum values, Spectrum shuffled, int64_t rows, int64_t columns) {
  MatrixSpectra result{.values = std::move(values),
                       .shuffled = std::move(shuffled),
                       .rows = rows,
                       .columns = columns};
  result.edge = marchenko_pastur_edge(result.values, rows, columns);
  result.above_edge = values_above(result.values, result.edge);
  return result;
}

/// Of [W_K; W_V] of each head, whose rows are far fewer than its columns.
std::vector<Spectrum> head_spectra(const KvWeights& layer, int64_t heads) {
  std::vector<Spectrum> spectra;
  const auto k_heads = layer.k.chunk(heads), v_heads = layer.v.chunk(heads);
  for (size_t head = 0; head < static_cast<size_t>(heads); ++head)
    spectra.push_back(singular_values(at::cat({k_heads[head], v_heads[head]}).to(at::kDouble)));
  return spectra;
}

LayerSpectra spectra_of(const KvWeights& layer, int64_t kv_heads) {
  const DenseKv weights{.k = layer.k, .v = layer.v};
  auto [k, v, kv] = three_spectra(kv_grams(weights));
  auto [k_shuffled, v_shuffled, kv_shuffled] =
      three_spectra(permuted_kv_grams(weights, layer.layer));
  const int64_t k_rows = layer.k.size(0), v_rows = layer.v.size(0), width = layer.k.size(1);
  return {.layer = layer.layer,
          .k = matrix_spectra(std::move(k), std::move(k_shuffled), k_rows, width),
          .v = matrix_spectra(std::move(v), std::move(v_shuffled), v_rows, width),
          .kv = matrix_spectra(std::move(kv), std::move(kv_shuffled), k_rows + v_rows, width),
          .heads = kv_heads > 0 ? head_spectra(layer, kv_heads) : std::vector<Spectrum>{}};
}

void check_heads(const KvWeights& layer, int64_t heads, const std::string& source) {
  for (const at::Tensor& weight : {layer.k, layer.v}) {
    if (weight.size(0) % heads != 0) {
      fail_user(
          "{}: layer {} has {} rows of keys and {} of values, which {} heads do not divide; "
          "set --kv-heads to the heads of keys and values",
          source,
          layer.layer,
          layer.k.size(0),
          layer.v.size(0),
          heads);
    }
  }
}

}  // namespace

WeightSpectra weight_spectra(const std::vector<KvWeights>& weights,
                             int64_t kv_heads,
                             const std::string& source) {
  WeightSpectra result;
  for (const KvWeights& layer : weights) {
    if (kv_heads > 0) check_heads(layer, kv_heads, source);
    const int64_t k_rows = layer.k.size(0), v_rows = layer.v.size(0);
    for (const int64_t rows : {k_rows, v_rows, k_rows + v_rows})
      result.gaussian.try_emplace({rows, layer.k.size(1)});
    if (kv_heads > 0) result.gaussian.try_emplace({(k_rows + v_rows) / kv_heads, layer.k.size(1)});
  }
  std::vector<Spectrum*> nulls;
  std::vector<std::pair<int64_t, int64_t>> shapes;
  for (auto& [shape, null] : result.gaussian) {
    nulls.push_back(&null);
    shapes.push_back(shape);
  }
  const size_t layers = weights.size();
  result.layers.resize(layers);
  model::side_by_side(static_cast<int64_t>(layers + nulls.size()), [&](int64_t job) {
    const auto i = static_cast<size_t>(job);
    if (i < layers) {
      result.layers[i] = spectra_of(weights[i], kv_heads);
    } else {
      const auto [rows, columns] = shapes[i - layers];
      *nulls[i - layers] = gaussian_spectrum(rows, columns);
    }
  });
  return result;
}

}  // namespace vmla::analysis
