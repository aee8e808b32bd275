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

inline int64_t clip_count(const Bucket& bucket) {
  int64_t clips = 0;
  for (const ClipRange& range : bucket) clips += range.end - range.first;
  return clips;
}

}  // namespace vmla::data
