#pragma once

#include <cstdint>
#include <functional>

#include "data/encode/encode_parts.h"

namespace vmla::data {

/// The `count` clips from clip `first` on, computed together; `store(b)` makes the b-th of them
/// ready to be stored, and is not called for one that an earlier job has stored.
using ComputeBatch =
    std::function<std::function<EncodedClip(int64_t b)>(int64_t first, int64_t count)>;

/// How a job computes its clips.
struct ClipPlan {
  int64_t clips = 0;            // to compute, numbered from 0
  int64_t batch = 1;            // that are computed together
  const char* label = nullptr;  // stands before the progress bar
};

/// What became of such a job.
struct ComputedClips {
  int64_t clips = 0;
  int64_t resumed = 0;          // of them found done by an earlier, killed job
  double seconds_per_clip = 0;  // of those computed now
};

/// Computes the clips that `parts` does not hold yet, and publishes the dataset. What `compute`
/// throws ends the job; the parts stay for the next one.
ComputedClips compute_clips(EncodeParts& parts, const ClipPlan& plan, const ComputeBatch& compute);

}  // namespace vmla::data
