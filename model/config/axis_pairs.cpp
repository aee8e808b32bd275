#include "model/config/axis_pairs.h"

#include "model/config/model_config.h"

namespace vmla::model {

std::array<int64_t, 3> pairs_by_axis(int64_t head_dim, const std::vector<int64_t>& pairs) {
  const std::array<int64_t, 3> dense = dense_axis_pairs(head_dim);
  std::array<int64_t, 3> counts = {};
  for (const int64_t pair : pairs)
    ++counts[pair < dense[0] ? 0 : pair < dense[0] + dense[1] ? 1 : 2];
  return counts;
}

}  // namespace vmla::model
