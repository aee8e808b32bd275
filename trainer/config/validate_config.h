#pragma once

#include <string>
#include <vector>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// What a configuration is for: a stage that runs by itself; a stage of a pipeline, whose init_from
/// may name an earlier stage without a path; one evaluation of the objective on given tensors,
/// which needs no data.
enum class Purpose { kTrain, kPipelineStage, kStep };

/// Every rule across keys. ConfigRuleError names the full key, its value and the remedy.
void validate_config(const TrainConfig& config, Purpose purpose = Purpose::kTrain);

/// Latent frames of a clip, when `data.make` says how clips are encoded and the codec is a built-in
/// one; else 0.
int64_t known_latent_frames(const TrainConfig& config);

}  // namespace vmla::trainer
