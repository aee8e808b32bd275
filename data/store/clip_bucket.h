#pragma once

#include <cstdint>
#include <vector>

namespace vmla::data {

/// A run of neighbouring clips of a dataset: [first, end).
struct ClipRange {
  int64_t first, end;
};

/// Clips that may stand in one batch, because they have one shape.
using Bucket = std::vector<ClipRange>;

}  // namespace vmla::data
