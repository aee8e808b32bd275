#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Rules of the section `objective`, and those of `model` that depend on the objective. Rules
/// of one objective are a function validate_section(const NAMEConfig&, ...) in the source.
/// ConfigRuleError.
void validate_objective(const TrainConfig& config);

/// The timesteps of a few-step student at `key`: decreasing, in (0, 1000], before the shift.
void validate_steps(const std::string& key, const std::vector<double>& list);

/// Rules of one AdamW section (`section` is its key); `steps` is train.steps.
void validate_optimizer(const OptimizerConfig& optimizer,
                        const std::string& section,
                        int64_t steps);

}  // namespace vmla::trainer
