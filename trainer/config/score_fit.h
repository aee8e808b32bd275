#pragma once

#include <string>

#include "model/config/model_config.h"

namespace vmla::trainer {

/// ConfigRuleError at init_from.ROLE unless a score of these sizes can judge the student's clips:
/// it must be dense, and take the same latent channels, patches and text embeddings. `source` names
/// its weights in the message.
void require_score_fits(const std::string& role,
                        const model::ModelConfig& student,
                        const model::ModelConfig& score,
                        const std::string& source);

}  // namespace vmla::trainer
