// CARE: the approximation that is best for the inputs that the layer sees, not for all inputs alike
// (docs/algorithms.md 5.7).
#include "model/conversion/layer_conversion.h"

namespace vmla::model {

ConvertedLayer convert_layer_care(const LayerToConvert& from) {
  const DenseLayer dense = dense_layer(from);
  const LayerDims d = layer_dims(from.mla, from.layer);
  const LowRankObjective objective{.moment = input_moment(from.moments->keys)};
  return assemble_layer(from,
                        dense,
                        {.kv = whitened_svd(dense.joint, objective.moment, d.kv_rank),
                         .q = whitened_query(from, dense),
                         .rope = rope_key_of(from, dense, HeadMix::kComplex, false),
                         .objective = objective});
}

}  // namespace vmla::model
