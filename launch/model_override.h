#pragma once

#include "model/config/model_config.h"
#include "model/formats/load_weights.h"

#include <string>
#include <vector>

namespace vmla::launch {

/// The model's configuration: what the weights say, overridden by the section `model` of
/// `config_path` (may be empty) and by `--set model.key=value`.
model::ModelConfig overridden_model(const model::LoadedWeights& weights,
                                    const std::string& config_path,
                                    const std::vector<std::string>& overrides);

}  // namespace vmla::launch
