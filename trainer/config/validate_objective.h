#pragma once

#include <string>
#include <vector>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Rules of the section `objective`, and of `model` where the objective has a say.
void validate_objective(const TrainConfig& config);

/// A student's steps: decreasing, in (0, 1000].
void validate_steps(const std::string& key, const std::vector<double>& list);

/// Rules of one AdamW section; `steps` is the stage's length.
void validate_optimizer(const OptimizerConfig& optimizer,
                        const std::string& section,
                        int64_t steps);

}  // namespace vmla::trainer
