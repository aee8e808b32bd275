#pragma once

#include <cstdint>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Rules of the section `data`, and those of `model` that follow from how clips and texts are made
/// (data.make): channels, whole tokens, width and rows of texts. ConfigRuleError.
void validate_data(const TrainConfig& config);

/// Latent frames of a clip, where `data.make` says how clips are made; else 0.
int64_t known_latent_frames(const TrainConfig& config);

}  // namespace vmla::trainer
