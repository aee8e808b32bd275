// VideoMLA's initialisation from weights alone: the best low-rank approximation of the projections,
// whatever the inputs are.
#include "model/conversion/layer_conversion.h"

namespace vmla::model {

ConvertedLayer convert_layer_svd_weight(const LayerToConvert& from) {
  return convert_by_factors(from, truncated_svd);
}

}  // namespace vmla::model
