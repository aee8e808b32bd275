#pragma once

#include "model/config/model_config.h"
#include "model/formats/load_weights.h"

#include <string>
#include <vector>

namespace vmla::launch {

/// The model's configuration: what the weights say, overridden by the section `model` of the file
/// `config_path` (may be empty) and by `overrides` ("model.key=value"). UserError where a key is
/// unknown or the result breaks a rule.
model::ModelConfig overridden_model(const model::LoadedWeights& weights,
                                    const std::string& config_path,
                                    const std::vector<std::string>& overrides);

}  // namespace vmla::launch
