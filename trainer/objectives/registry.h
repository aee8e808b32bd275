#pragma once

#include "trainer/config/train_config.h"
#include "trainer/objectives/objective.h"

#include <memory>

namespace vmla::trainer {

/// The objective that the configuration names; UserError lists the known ones.
std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config,
                                          const model::ModelConfig& model);

}  // namespace vmla::trainer
