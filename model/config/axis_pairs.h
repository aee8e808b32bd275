#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace vmla::model {

/// How many of `pairs`, indices into a dense head's head_dim/2, turn by time, height and width.
std::array<int64_t, 3> pairs_by_axis(int64_t head_dim, const std::vector<int64_t>& pairs);

}  // namespace vmla::model
