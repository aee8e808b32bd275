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

/// Roles of the objective that may start from given weights, as keys of init_from.
std::vector<std::string> named_roles(const ObjectiveConfig& objective);

/// Whether a role is a score of dmd: a dense bidirectional network of its own sizes.
bool is_score(const std::string& role);

/// Roles whose weights every checkpoint of the objective holds, the one to go on from first.
std::vector<std::string> saved_roles(const TrainConfig& config);

/// Whether the objective trains a student of few steps.
bool trains_few_step(const ObjectiveConfig& objective);

/// Whether the objective learns from prompts alone.
bool learns_from_prompts(const ObjectiveConfig& objective);

}  // namespace vmla::trainer
