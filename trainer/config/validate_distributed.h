#pragma once

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Checks the section `distributed` by itself. ConfigRuleError.
void validate_distributed(const TrainConfig& config);

}  // namespace vmla::trainer
