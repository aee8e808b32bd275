// X-EcoMLA's form: the SVD covers the rotary rows too, whose share of the latent is then left
// unused, and the shared rotary key is the mean of the heads' (docs/algorithms.md 5.6).
#include "model/conversion/layer_conversion.h"

#include <ATen/ATen.h>

namespace vmla::model {

ConvertedLayer convert_layer_svd_full_mean_rope(const LayerToConvert& from) {
  const DenseLayer dense = dense_layer(from);
  const LayerDims d = layer_dims(from.mla, from.layer);
  LowRank kv = truncated_svd(at::cat({dense.key, dense.value}, 0), d.kv_rank);
  const int64_t keys = dense.key.size(0);
  kv.up = at::cat({kv.up.narrow(0, 0, keys).index_select(0, dense.rows.content),
                   kv.up.narrow(0, keys, dense.value.size(0))},
                  0);
  return assemble_layer(from,
                        dense,
                        {.kv = kv,
                         .q = plain_query(from, dense),
                         .rope = rope_key_of(from, dense, HeadMix::kMean, false)});
}

}  // namespace vmla::model
