#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// Stage 0: bidirectional flow matching, one timestep a clip, plain mean squared error of the
/// velocity. Inputs of evaluate(): clean_latents, noise, timesteps [B, F] (or [B]), text.
std::unique_ptr<Objective> make_flow_matching(const FlowMatchingConfig& config,
                                              const model::ModelConfig& model);

}  // namespace vmla::trainer
