#include <ATen/ATen.h>

#include <cmath>

#include "kernels/rope_3d/rope_3d.h"

namespace vmla::kernels {

RopeTable RopeTable::rows(int64_t first, int64_t count) const {
  return {cos.narrow(0, first, count), sin.narrow(0, first, count)};
}

RopeTable rope_table(const std::vector<int64_t>& times,
                     int64_t rows,
                     int64_t cols,
                     const RopePairSet& pair_set,
                     const at::TensorOptions& options) {
  const auto [time_pairs, row_pairs, col_pairs] = pair_set.axis_pairs;
  const int64_t num_pairs = static_cast<int64_t>(pair_set.pairs.size());
  const int64_t L = static_cast<int64_t>(times.size()) * rows * cols;
  at::Tensor cos = at::empty({L, num_pairs}, at::kDouble);
  at::Tensor sin = at::empty({L, num_pairs}, at::kDouble);
  double* cos_data = cos.data_ptr<double>();
  double* sin_data = sin.data_ptr<double>();

  // A pair's axis and frequency follow from its place in the dense head, also where only some of
  // the head's pairs are rotated.
  for (int64_t p = 0; p < num_pairs; ++p) {
    const int64_t pair = pair_set.pairs[p];
    TORCH_CHECK(pair >= 0 && pair < time_pairs + row_pairs + col_pairs,
                "rope_table: pair index outside the dense head's pairs: ",
                pair);
    const int axis = pair < time_pairs ? 0 : pair < time_pairs + row_pairs ? 1 : 2;
    const int64_t first = axis == 0 ? 0 : axis == 1 ? time_pairs : time_pairs + row_pairs;
    const double exponent = -static_cast<double>(pair - first) / pair_set.axis_pairs[axis];
    const double frequency = std::pow(pair_set.theta, exponent);
    int64_t token = 0;
    for (const int64_t time : times) {
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t col = 0; col < cols; ++col, ++token) {
          const int64_t position = axis == 0 ? time : axis == 1 ? row : col;
          const double angle = static_cast<double>(position) * frequency;
          cos_data[token * num_pairs + p] = std::cos(angle);
          sin_data[token * num_pairs + p] = std::sin(angle);
        }
      }
    }
  }
  return {cos.to(options), sin.to(options)};
}

}  // namespace vmla::kernels
