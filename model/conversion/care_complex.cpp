// Whitened as CARE, with keys and values balanced, and the shared rotary key from the complex
// second moments of the keys themselves (docs/algorithms.md 5.7).
#include "model/conversion/layer_conversion.h"

namespace vmla::model {

ConvertedLayer convert_layer_care_complex(const LayerToConvert& from) {
  const DenseLayer dense = dense_layer(from);
  const LowRankObjective objective = balanced_objective(from, dense);
  return assemble_layer(from,
                        dense,
                        {.kv = balanced_svd(from, dense, objective),
                         .q = whitened_query(from, dense),
                         .rope = rope_key_of(from, dense, HeadMix::kComplex, true),
                         .objective = objective});
}

}  // namespace vmla::model
