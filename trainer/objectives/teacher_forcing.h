#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// Stage 1: teacher forcing (algorithms 5). Each chunk has its own timestep and sees the clean
/// earlier chunks at t = 0; the velocity's squared error is weighted by LossWeight(t). Inputs of
/// evaluate(): clean_latents, noise, timesteps [B, F], text; with noise augmentation also
/// `context_timesteps` [B, F] (the clean context is noised to them, with the same noise).
std::unique_ptr<Objective> make_teacher_forcing(const TeacherForcingConfig& config,
                                                const model::ModelConfig& model);

}  // namespace vmla::trainer
