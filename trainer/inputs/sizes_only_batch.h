#pragma once

#include "model/formats/safetensors.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

/// The inputs of a step as tensors of the meta device, which have sizes and no data: what a plan
/// runs a step on. Each function is the counterpart of one that makes real inputs.
namespace vmla::trainer {

/// A micro-batch as the loader reads it (StageData::next, without what all batches share).
/// `text_rows`: rows of the batch's longest text, at most model.text_len.
model::TensorMap sizes_only_batch(const TrainConfig& config,
                                  const ClipShape& clip,
                                  int64_t text_rows);

/// What every evaluation gets besides (StageData::shared_inputs): `negative_text`, where the
/// objective guides.
model::TensorMap sizes_only_shared_inputs(const TrainConfig& config, int64_t text_rows);

/// An objective's draws for a micro-batch of `batch` samples (Objective::draws). A number that all
/// samples share is a real one, for it decides what runs: its largest value, which needs the most
/// memory (a rollout that runs all its steps).
model::TensorMap sizes_only_draws(const std::vector<DrawSpec>& specs, int64_t batch);

}  // namespace vmla::trainer
