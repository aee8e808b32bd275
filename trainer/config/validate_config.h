#pragma once

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// What a configuration is for: kTrain, a stage that runs by itself; kPipelineStage, a stage of a
/// pipeline, whose init_from may name an earlier stage without a path; kStep, one evaluation of the
/// objective on given tensors (`vmla step`), which needs no section `data`.
enum class Purpose { kTrain, kPipelineStage, kStep };

/// Checks every value by itself and every rule across keys, section by section. ConfigRuleError at
/// the first that is broken names the full key, its value and the remedy.
void validate_config(const TrainConfig& config, Purpose purpose = Purpose::kTrain);

}  // namespace vmla::trainer
