#pragma once

#include <string>
#include <vector>

#include "trainer/config/train_config.h"

/// The networks of a stage, and what can be said of them before any is built. No LibTorch here.
namespace vmla::trainer {

/// The objective's roles, then generator_ema where the section `ema` asks for it.
std::vector<Role> stage_roles(const TrainConfig& config);

/// Names of the objective's roles: the keys that init_from may have. generator_ema is not among
/// them, for it always starts as a copy.
std::vector<std::string> named_roles(const ObjectiveConfig& objective);

/// Roles whose weights every checkpoint of the stage holds. The first is the one that a later stage
/// starts from by default: averages come before what they average, generator_ema before others.
std::vector<std::string> saved_roles(const TrainConfig& config);

/// Whether the objective has a score of this name: a dense bidirectional network with sizes of its
/// own.
bool is_score(const ObjectiveConfig& objective, const std::string& role);

}  // namespace vmla::trainer
