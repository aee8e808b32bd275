#include "trainer/config/stage_roles.h"

#include <algorithm>
#include <ranges>

namespace vmla::trainer {

std::vector<Role> stage_roles(const TrainConfig& config) {
  std::vector<Role> roles = objective_traits(config.objective).roles;
  if (config.ema.decay > 0) {
    roles.push_back({.name = "generator_ema",
                     .training = Training::kEmaOf,
                     .ema_of = "generator",
                     .ema_decay = config.ema.decay,
                     .ema_start_step = config.ema.start_step,
                     // Validation and samples run it; training does not.
                     .computes = false});
  }
  return roles;
}

std::vector<std::string> named_roles(const ObjectiveConfig& objective) {
  std::vector<std::string> names;
  for (const Role& role : objective_traits(objective).roles) names.push_back(role.name);
  return names;
}

std::vector<std::string> saved_roles(const TrainConfig& config) {
  const std::vector<Role> roles = stage_roles(config);
  std::vector<std::string> names;
  // Backwards: generator_ema stands last among the roles and goes first here.
  for (auto role = roles.rbegin(); role != roles.rend(); ++role) {
    if (role->training == Training::kEmaOf) names.push_back(role->name);
  }
  for (const Role& role : roles) {
    if (role.training == Training::kTrained) names.push_back(role.name);
  }
  return names;
}

bool is_score(const ObjectiveConfig& objective, const std::string& role) {
  return std::ranges::any_of(objective_traits(objective).roles, [&](const Role& other) {
    return other.is_score && other.name == role;
  });
}

}  // namespace vmla::trainer
