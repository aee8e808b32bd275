#include "trainer/config/objective_config.h"

#include "model/config/config_rule.h"

namespace vmla::trainer {

void fail_unknown_objective(const std::string& name) {
  // Every field of the table but `name` is an objective.
  std::string known;
  const ObjectiveConfig all;
  ObjectiveConfig::fields(all, [&](const char* key, const auto& section, const char*) {
    if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(section)>, std::string>)
      known += formatted("{}{}", known.empty() ? "" : ", ", key);
  });
  fail_rule("objective.name", "'{}' is unknown; valid: {}", name, known);
}

ObjectiveTraits objective_traits(const ObjectiveConfig& config) {
  ObjectiveTraits traits;
  visit_objective(config, [&](const auto& section) { traits = section.traits(); });
  return traits;
}

}  // namespace vmla::trainer
