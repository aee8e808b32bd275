#pragma once

#include <string>

#include "model/config/model_config.h"

namespace vmla::trainer {

/// ConfigRuleError at init_from.ROLE unless a score of these sizes sees the student's latents and
/// texts: it must be dense and agree in channels, patches and text. `source` names its weights.
void require_score_fits(const std::string& role,
                        const model::ModelConfig& student,
                        const model::ModelConfig& score,
                        const std::string& source);

}  // namespace vmla::trainer
