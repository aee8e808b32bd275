#pragma once

#include <string>
#include <vector>

#include "trainer/config/train_config.h"

/// The networks of a stage and what may be said of them before any is built. No LibTorch.
namespace vmla::trainer {

/// The objective's roles, and the moving average that the section `ema` asks for.
std::vector<Role> stage_roles(const TrainConfig& config);

/// Names of the objective's roles: the keys that init_from may have.
std::vector<std::string> named_roles(const ObjectiveConfig& objective);

/// Roles whose weights every checkpoint of the stage holds, the one to go on from first: averages
/// before what they average.
std::vector<std::string> saved_roles(const TrainConfig& config);

/// Whether the objective has a score of this name: a dense bidirectional network of its own sizes.
bool is_score(const ObjectiveConfig& objective, const std::string& role);

}  // namespace vmla::trainer
