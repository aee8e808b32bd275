// TransMLA: PCA of the balanced keys and values, and a shared rotary key of real combinations of
// the heads (docs/algorithms.md 5.7).
#include "model/conversion/layer_conversion.h"

namespace vmla::model {

ConvertedLayer convert_layer_transmla(const LayerToConvert& from) {
  const DenseLayer dense = dense_layer(from);
  const LowRankObjective objective = balanced_objective(from, dense);
  return assemble_layer(from,
                        dense,
                        {.kv = balanced_svd(from, dense, objective),
                         .q = whitened_query(from, dense),
                         .rope = rope_key_of(from, dense, HeadMix::kReal, true),
                         .objective = objective});
}

}  // namespace vmla::model
