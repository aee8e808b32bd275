#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// The baseline of stage 1: chunk-causal flow matching (algorithms 3.3) in which a chunk sees the
/// noisy earlier chunks, each at its own timestep, instead of clean ones. Loss weight and inputs as
/// teacher forcing: clean_latents, noise, timesteps [B, F], text.
std::unique_ptr<Objective> make_diffusion_forcing(const DiffusionForcingConfig& config,
                                                  const model::ModelConfig& model);

}  // namespace vmla::trainer
