// MHA2MLA's split form: keys and values have latents of their own, half the rank each, so that
// neither helps the other (docs/algorithms.md 5.6).
#include "model/conversion/layer_conversion.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace vmla::model {
namespace {

/// Half the rank for the keys, or what they can use, or what the values cannot.
int64_t key_share(const at::Tensor& key, const at::Tensor& value, int64_t rank) {
  const int64_t most_key = std::min(key.size(0), key.size(1));
  const int64_t most_value = std::min(value.size(0), value.size(1));
  return std::min({most_key, std::max(rank / 2, rank - most_value), rank});
}

}  // namespace

ConvertedLayer convert_layer_svd_split(const LayerToConvert& from) {
  const DenseLayer dense = dense_layer(from);
  const LayerDims d = layer_dims(from.mla, from.layer);
  const at::Tensor keys = dense.key.index_select(0, dense.rows.content);
  const int64_t for_keys = key_share(keys, dense.value, d.kv_rank);
  const LowRank key = truncated_svd(keys, for_keys);
  const LowRank value = truncated_svd(dense.value, d.kv_rank - for_keys);
  const double key_energy = sum_of_squares(keys);
  const double value_energy = sum_of_squares(dense.value);
  const double all = key_energy + value_energy;
  const LowRank kv{
      .up = at::block_diag({key.up, value.up}),
      .down = at::cat({key.down, value.down}, 0),
      .energy_kept =
          all > 0 ? (key.energy_kept * key_energy + value.energy_kept * value_energy) / all : 1.0,
      .optimal_error = std::sqrt(key.optimal_error * key.optimal_error +
                                 value.optimal_error * value.optimal_error)};
  return assemble_layer(from,
                        dense,
                        {.kv = kv,
                         .q = plain_query(from, dense),
                         .rope = rope_key_of(from, dense, HeadMix::kComplex, false)});
}

}  // namespace vmla::model
