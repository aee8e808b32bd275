// New matrices for latent attention; what has the same shape in the dense model is taken from it.
#include "model/conversion/layer_conversion.h"
#include "model/weights/weights.h"

#include <ATen/ATen.h>

namespace vmla::model {

ConvertedLayer convert_layer_random(const LayerToConvert& from) {
  const ModelConfig& mla = from.mla;
  const std::string prefix = from.prefix();
  ConvertedLayer converted;
  for (const TensorSpec& spec : unit_layout(mla, from.layer)) {
    if (!spec.name.starts_with(prefix)) continue;
    const std::string name = spec.name.substr(prefix.size());
    const bool kept = name.starts_with("o.") && mla.v_head_dim == mla.head_dim();
    converted.tensors[name] = kept ? from.dense.at(spec.name) : random_tensor(mla, spec, from.seed);
  }
  return converted;
}

}  // namespace vmla::model
