// VideoMLA's initialisation from weights alone: the best low-rank approximation of the projections,
// whatever the inputs are.
#include "model/conversion/layer_conversion.h"

namespace vmla::model {

ConvertedLayer convert_layer_svd_weight(const LayerToConvert& from) {
  const DenseLayer dense = dense_layer(from);
  const LayerDims d = layer_dims(from.mla, from.layer);
  return assemble_layer(from,
                        dense,
                        {.kv = truncated_svd(dense.joint, d.kv_rank),
                         .q = plain_query(from, dense),
                         .rope = rope_key_of(from, dense, HeadMix::kComplex, false)});
}

}  // namespace vmla::model
