#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// Causal consistency distillation (algorithms 6.2). Between neighbours t > t' of a fixed grid, one
/// Euler step of the guided teacher leads from x_t to x_t'; the student's x0 at (x_t, t) shall be
/// what its moving average says at (x_t', t'). All three see the clean earlier chunks. Inputs of
/// evaluate(): clean_latents, noise, index [B] (of t in the grid), text, negative_text.
std::unique_ptr<Objective> make_consistency_distillation(const ConsistencyConfig& config,
                                                         const model::ModelConfig& model);

}  // namespace vmla::trainer
