#pragma once

#include "model/formats/safetensors.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

namespace vmla::trainer {

/// A micro-batch as the loader reads it (StageData::next without what all batches share), of
/// tensors that have sizes and no data: for a plan. `text_rows`: rows of the batch's longest text.
model::TensorMap sizes_only_batch(const TrainConfig& config,
                                  const ClipShape& clip,
                                  int64_t text_rows);

/// What every evaluation gets besides: `negative_text`, where the objective guides.
model::TensorMap sizes_only_shared_inputs(const TrainConfig& config, int64_t text_rows);

/// An objective's draws for a micro-batch of `batch` samples; a number that all samples share has
/// its largest value, which needs the most memory (the last exit step of a rollout).
model::TensorMap sizes_only_draws(const std::vector<DrawSpec>& specs, int64_t batch);

}  // namespace vmla::trainer
