#include "trainer/roles/initial_weights.h"

#include "model/config/config_rule.h"
#include "model/conversion/init_methods.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/weights/weights.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/score_fit.h"
#include "trainer/config/stage_roles.h"
#include "trainer/config/stage_start.h"
#include "trainer/roles/stage_origin.h"

#include <filesystem>
#include <utility>

namespace vmla::trainer {
namespace {

/// UserError where the source's number of heads or text length is not that of the section `model`.
/// check_weights finds every other difference, but no tensor's shape shows these two.
void expect_same_sizes(const model::ModelConfig& wanted, const model::LoadedWeights& loaded) {
  if (!loaded.config_is_complete) return;
  if (loaded.config.num_heads != wanted.num_heads || loaded.config.text_len != wanted.text_len) {
    fail_user("model.num_heads {} and model.text_len {} do not fit {}, which has {} and {}",
              wanted.num_heads,
              wanted.text_len,
              loaded.source,
              loaded.config.num_heads,
              loaded.config.text_len);
  }
}

/// Rules that the source's own stage configuration allows to check, where it is a checkpoint of
/// ours: a student does not start from a model of the wrong kind, nor, unless
/// init.allow_other_window asks for it, from one that was trained with another window.
void expect_fitting_stage(const TrainConfig& config,
                          const std::string& role,
                          const model::LoadedWeights& loaded) {
  if (loaded.stage_config.empty()) return;
  const TrainConfig from = parse_resolved(loaded.stage_config, loaded.source + ": config");
  check_start(config, role, from, loaded.source);
  const std::string other = other_window(config, role, from);
  if (!other.empty()) {
    log::warn("init_from.{}: {} was trained with another window: {} (init.allow_other_window)",
              role,
              loaded.source,
              other);
  }
}

InitialWeights fresh_weights(const TrainConfig& config) {
  return {.tensors = model::random_weights(config.model, static_cast<uint64_t>(config.seed)),
          .origin = formatted("drawn at random, seed {}", config.seed),
          .config = config.model};
}

InitialWeights score_weights(const TrainConfig& config,
                             const std::string& role,
                             const InitSource& source,
                             const model::LoadedWeights& loaded) {
  const model::ModelConfig score = score_config(source, loaded);
  require_score_fits(role, config.model, score, loaded.source);
  model::check_weights(score, loaded.tensors, loaded.source);
  return {.tensors = loaded.tensors, .origin = loaded.source, .config = score};
}

/// Weights that have the stage's kind of attention already. The message for the other case is for
/// latent attention in a dense stage; dense weights for latent attention go to converted_weights.
InitialWeights taken_over_weights(const TrainConfig& config,
                                  const std::string& source_name,
                                  const model::LoadedWeights& loaded) {
  if (config.model.is_mla() != loaded.config.is_mla()) {
    fail_rule(
        formatted("init_from.{}", source_name),
        "{} has latent attention and model.attention is dense: there is no exact dense form; use "
        "mla, or dense weights",
        loaded.source);
  }
  expect_same_sizes(config.model, loaded);
  model::check_weights(config.model, loaded.tensors, loaded.source);
  return {.tensors = loaded.tensors,
          .origin = loaded.source,
          .config = config.model,
          .first_init_method = loaded.stated.init_method};
}

/// Dense weights, converted for a model with latent attention (docs/algorithms.md 5).
InitialWeights converted_weights(const TrainConfig& config,
                                 const std::string& source_name,
                                 const model::LoadedWeights& loaded,
                                 const model::ConvertLayers& convert,
                                 const Calibrate& calibrate) {
  if (config.init.method.empty()) {
    fail_rule(formatted("init_from.{}", source_name),
              "{} is dense and model.attention is mla: init.method must say how to convert it "
              "({})",
              loaded.source,
              model::init_method_choice());
  }
  model::ModelConfig dense = loaded.config;
  // Without a config.json shapes do not tell heads and text length; the stage's model states them,
  // and conversion keeps both.
  if (!loaded.config_is_complete) {
    dense.num_heads = config.model.num_heads;
    dense.text_len = config.model.text_len;
  }
  const model::InitMethod* method = model::find_init_method(config.init.method);
  std::vector<model::LayerMoments> moments;
  if (method && method->calibrates && calibrate) moments = calibrate(dense, loaded.tensors);
  model::MlaInit init = model::init_mla_from_dense(config.model,
                                                   dense,
                                                   loaded.tensors,
                                                   config.init.method,
                                                   static_cast<uint64_t>(config.seed),
                                                   convert,
                                                   moments,
                                                   config.init.refine_steps);
  return {.tensors = std::move(init.tensors),
          .origin = formatted("{}, converted by {}", loaded.source, config.init.method),
          .config = config.model,
          .init_method = config.init.method,
          .first_init_method = config.init.method,
          .conversion = std::move(init.layers)};
}

}  // namespace

model::ModelConfig score_config(const InitSource& source, const model::LoadedWeights& loaded) {
  if (loaded.config_is_complete) return loaded.config;
  model::PartialConfig stated;
  if (!source.preset.empty()) {
    const model::ModelConfig preset = model::model_preset(source.preset);
    stated.config.num_heads = preset.num_heads;
    stated.config.text_len = preset.text_len;
    stated.given = {"num_heads", "text_len"};
  }
  return model::model_config_with(loaded, stated);
}

std::string source_role(const TrainConfig& config, const Role& role) {
  if (config.init_from.contains(role.name) || role.same_weights_as.empty()) return role.name;
  return role.same_weights_as;
}

void check_sources(const TrainConfig& config) {
  for (const auto& [role, source] : config.init_from) {
    if (!std::filesystem::exists(source.path)) {
      // A pipeline's stage will be there when this one starts.
      if (source.stage.empty())
        log::warn("init_from.{}: {} is not on this machine; planned without it", role, source.path);
      continue;
    }
    const model::LoadedWeights loaded = model::load_weights(source.path, source.role);
    expect_fitting_stage(config, role, loaded);
    if (is_score(config.objective, role))
      require_score_fits(role, config.model, score_config(source, loaded), loaded.source);
  }
}

InitialWeights initial_weights(const TrainConfig& config,
                               const std::string& role,
                               const std::string& source_name,
                               const model::ConvertLayers& convert,
                               const Calibrate& calibrate) {
  const auto source = config.init_from.find(source_name);
  if (source == config.init_from.end()) return fresh_weights(config);
  const model::LoadedWeights loaded = model::load_weights(source->second.path, source->second.role);
  expect_fitting_stage(config, role, loaded);
  const bool converts = config.model.is_mla() && !loaded.config.is_mla();
  InitialWeights weights =
      is_score(config.objective, role) ? score_weights(config, role, source->second, loaded)
      : converts ? converted_weights(config, source_name, loaded, convert, calibrate)
                 : taken_over_weights(config, source_name, loaded);
  weights.source_hash = weights_hash(loaded.tensors);
  return weights;
}

}  // namespace vmla::trainer
