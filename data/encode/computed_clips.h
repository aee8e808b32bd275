#pragma once

#include <cstdint>
#include <functional>

#include "data/encode/encode_parts.h"

namespace vmla::data {

/// What became of a job that computes its clips.
struct ComputedClips {
  int64_t clips = 0;
  int64_t resumed = 0;          // of them found done by an earlier, killed job
  double seconds_per_clip = 0;  // of those computed now
};

/// The `count` clips from clip `first` on, computed together; `store(b)` makes the b-th of them
/// ready to be stored, and is not called for one that an earlier job has stored.
using ComputeBatch =
    std::function<std::function<EncodedClip(int64_t b)>(int64_t first, int64_t count)>;

/// Computes clips 0 to `clips` - 1 that `parts` does not hold yet, `batch` at a time, and publishes
/// the dataset. `label` stands before the progress bar. What `compute` throws ends the job; the
/// parts stay for the next one.
ComputedClips compute_clips(EncodeParts& parts,
                            int64_t clips,
                            int64_t batch,
                            const char* label,
                            const ComputeBatch& compute);

}  // namespace vmla::data
