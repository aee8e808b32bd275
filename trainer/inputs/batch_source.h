#pragma once

#include "model/formats/safetensors.h"
#include "trainer/objectives/objective.h"

#include <cstdint>

namespace vmla::trainer {

/// Where the updates of a stage take their samples from: a dataset (StageData), or random numbers
/// where only the time of an update matters (`vmla bench`).
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  /// Of the clips of the next batch.
  virtual ClipShape next_clip_shape() const = 0;

  /// The next `count` samples, on the CPU: `clean_latents` [B, F, C, H, W] (none from a prompt
  /// set), `text` [B, T, E] with T the rows of the longest one, `ode_states` where the samples have
  /// them, and `negative_text` [1, T, E], where the objective's traits name a negative prompt.
  /// `step`, and `first_sample` in the step's global batch, are what draws depend on.
  virtual model::TensorMap next(int64_t count, int64_t step, int64_t first_sample) = 0;
};

}  // namespace vmla::trainer
