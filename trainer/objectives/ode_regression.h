#pragma once

#include "model/config/model_config.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// Causal ODE regression (algorithms 6.1): from a state of the teacher's ODE at one of the
/// student's steps, predict its endpoint. Inputs of evaluate(): clean_latents (the context), text,
/// and either state, ode_target [B, F, C, H, W] and timesteps ([B] or [B, F]), or what a dataset of
/// ODE pairs and draws() give: ode_states [B, states, F, C, H, W] (the last one is the endpoint)
/// and ode_index [B, F].
std::unique_ptr<Objective> make_ode_regression(const OdeRegressionConfig& config,
                                               const model::ModelConfig& model);

}  // namespace vmla::trainer
