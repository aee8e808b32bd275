#include "launch/model_override.h"

#include "model/config/config_json.h"
#include "model/io/error.h"
#include "trainer/config/config_yaml.h"

namespace vmla::launch {
namespace {

/// Names of the fields in which two configurations differ.
std::set<std::string> changed_fields(const model::ModelConfig& before,
                                     const model::ModelConfig& after) {
  std::set<std::string> changed;
  model::ModelConfig::fields(before, [&](const char* name, const auto& old_value, const char*) {
    model::ModelConfig::fields(after, [&](const char* other, const auto& new_value, const char*) {
      if constexpr (std::is_same_v<decltype(old_value), decltype(new_value)>) {
        if (std::string_view(name) == other && !(old_value == new_value)) changed.insert(name);
      }
    });
  });
  return changed;
}

}  // namespace

model::ModelConfig overridden_model(const model::LoadedWeights& weights,
                                    const std::string& config_path,
                                    const std::vector<std::string>& overrides) {
  if (config_path.empty() && overrides.empty()) return model::model_config_with(weights, {});
  trainer::TrainConfig base;
  base.model = weights.config;
  const model::ModelConfig wanted = trainer::read_config(config_path, overrides, base).model;
  model::PartialConfig overridden;
  overridden.config = wanted;
  overridden.given = changed_fields(weights.config, wanted);
  return model::model_config_with(weights, overridden);
}

trainer::TrainConfig latent_config(const model::LoadedWeights& dense,
                                   const ConfigArgs& args,
                                   const std::string& made) {
  trainer::TrainConfig base;
  base.model = dense.config;
  base.model.attention = "mla";
  base.model.preset.clear();
  trainer::TrainConfig config = trainer::read_config(args.config, args.set, base);
  if (!config.model.is_mla())
    fail_user("{}: model.attention is dense; {}, set it to mla", args.config, made);
  if (config.init.refine_steps < 0) {
    fail_user("{}: init.refine_steps: is {}; use 0 or more", args.config, config.init.refine_steps);
  }
  config.train.device = "cpu";  // the file's is the stage's
  return config;
}

}  // namespace vmla::launch
