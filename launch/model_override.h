#pragma once

#include "launch/shared_options.h"
#include "model/config/model_config.h"
#include "model/formats/load_weights.h"
#include "trainer/config/train_config.h"

#include <string>
#include <vector>

namespace vmla::launch {

/// The model's configuration: what the weights say, overridden by the section `model` of the file
/// `config_path` (may be empty) and by `overrides` ("model.key=value"). UserError where a key is
/// unknown or the result breaks a rule.
model::ModelConfig overridden_model(const model::LoadedWeights& weights,
                                    const std::string& config_path,
                                    const std::vector<std::string>& overrides);

/// What converts `dense` to latent attention, computed on the CPU: the file's section `model` says
/// the latent sizes, the others are the dense model's. UserError, with `made` saying what needs
/// latent attention, where the file asks for dense attention.
trainer::TrainConfig latent_config(const model::LoadedWeights& dense,
                                   const ConfigArgs& args,
                                   const std::string& made);

}  // namespace vmla::launch
