#include "trainer/roles/role_state.h"

#include "model/config/config_rule.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/stage_start.h"
#include "trainer/config/validate_distributed.h"
#include "trainer/config/validate_objective.h"
#include "trainer/distributed/sequence_ranks.h"
#include "trainer/distributed/sharded_weights.h"
#include "trainer/distributed/shared_conversion.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <utility>

namespace vmla::trainer {

at::ScalarType compute_dtype(const TrainConfig& config) {
  if (config.train.precision == "fp64") return at::kDouble;
  return config.train.precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

at::ScalarType input_dtype(const TrainConfig& config) {
  return model::exact_dtype(compute_dtype(config));
}

void place_inputs(const TrainConfig& config, model::TensorMap& inputs) {
  const at::Device device(config.train.device);
  for (auto& [name, tensor] : inputs)
    tensor =
        tensor.is_floating_point() ? tensor.to(device, input_dtype(config)) : tensor.to(device);
}

bool cuts_used_weights(const TrainConfig& config) {
  return config.distributed.sharding == "full" || config.distributed.sharding == "hybrid";
}

bool stays_gathered(const TrainConfig& config, const Role& role) {
  return !cuts_used_weights(config) || (role.rolls_out && holds_weights(config.distributed));
}

std::vector<Role> stage_roles(const TrainConfig& config, const Objective& objective) {
  std::vector<Role> roles = objective.roles();
  if (config.ema.decay > 0) {
    roles.push_back({.name = "generator_ema",
                     .training = Training::kEmaOf,
                     .ema_of = "generator",
                     .ema_decay = config.ema.decay,
                     .ema_start_step = config.ema.start_step});
  }
  return roles;
}

namespace {

/// Fails when a source's sizes contradict the section `model`: shapes would not tell heads or text
/// length.
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

/// What the source's own stage says of it: a student does not start from a model of the wrong kind,
/// nor, unless that is asked for, from one that was trained with another window.
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

void expect_score_fits(const TrainConfig& config,
                       const std::string& role,
                       const model::ModelConfig& score,
                       const std::string& source) {
  if (score.is_mla()) {
    fail_rule(formatted("init_from.{}", role), "{} is latent attention; a score is dense", source);
  }
  const model::ModelConfig& m = config.model;
  const std::tuple<const char*, int64_t, int64_t> sizes[] = {
      {"in_dim", m.in_dim, score.in_dim},
      {"out_dim", m.out_dim, score.out_dim},
      {"patch_size[1]", m.patch_size[1], score.patch_size[1]},
      {"patch_size[2]", m.patch_size[2], score.patch_size[2]},
      {"text_dim", m.text_dim, score.text_dim},
      {"text_len", m.text_len, score.text_len}};
  for (const auto& [key, wanted, found] : sizes) {
    if (wanted == found) continue;
    fail_rule(formatted("init_from.{}", role),
              "{} has {} {}, the student's model.{} is {}; a score must see the student's latents "
              "and texts",
              source,
              key,
              found,
              key,
              wanted);
  }
}

std::string source_role(const TrainConfig& config, const Role& role) {
  if (config.init_from.contains(role.name) || role.same_weights_as.empty()) return role.name;
  return role.same_weights_as;
}

model::WeightSource& RoleState::source() const {
  if (uploaded) return *uploaded;
  if (weights) return *weights;
  return *frozen;
}

void check_sources(const TrainConfig& config) {
  for (const auto& [role, source] : config.init_from) {
    if (!std::filesystem::exists(source.path)) {
      if (source.stage.empty())
        log::warn("init_from.{}: {} is not here; planned without it", role, source.path);
      continue;
    }
    const model::LoadedWeights loaded = model::load_weights(source.path, source.role);
    expect_fitting_stage(config, role, loaded);
    if (is_score(role))
      expect_score_fits(config, role, score_config(source, loaded), loaded.source);
  }
}

InitialWeights initial_weights(const TrainConfig& config,
                               const std::string& role,
                               const std::string& source_name,
                               const model::ConvertLayers& convert) {
  const auto source = config.init_from.find(source_name);
  if (source == config.init_from.end()) {
    return {.tensors = model::random_weights(config.model, static_cast<uint64_t>(config.seed)),
            .origin = formatted("drawn at random, seed {}", config.seed),
            .config = config.model,
            .init_method = {},
            .conversion = {}};
  }
  const model::LoadedWeights loaded = model::load_weights(source->second.path, source->second.role);
  expect_fitting_stage(config, role, loaded);
  if (is_score(role)) {
    const model::ModelConfig score = score_config(source->second, loaded);
    expect_score_fits(config, role, score, loaded.source);
    model::check_weights(score, loaded.tensors, loaded.source);
    return {.tensors = loaded.tensors,
            .origin = loaded.source,
            .config = score,
            .init_method = {},
            .conversion = {}};
  }
  const bool converts = config.model.is_mla() && !loaded.config.is_mla();
  if (!converts) {
    if (config.model.is_mla() != loaded.config.is_mla()) {
      fail_rule(formatted("init_from.{}", source_name),
                "{} is latent attention, model.attention is dense: there is no way back",
                loaded.source);
    }
    expect_same_sizes(config.model, loaded);
    model::check_weights(config.model, loaded.tensors, loaded.source);
    return {.tensors = loaded.tensors,
            .origin = loaded.source,
            .config = config.model,
            .init_method = {},
            .conversion = {}};
  }
  if (config.init.method.empty()) {
    fail_rule(formatted("init_from.{}", source_name),
              "{} is dense and model.attention is mla: init.method must say how to convert it "
              "(svd_weight or random)",
              loaded.source);
  }
  model::ModelConfig dense = loaded.config;
  if (!loaded.config_is_complete) {  // shapes alone do not tell these two: the stage's model does
    dense.num_heads = config.model.num_heads;
    dense.text_len = config.model.text_len;
  }
  model::MlaInit init = model::init_mla_from_dense(config.model,
                                                   dense,
                                                   loaded.tensors,
                                                   config.init.method,
                                                   static_cast<uint64_t>(config.seed),
                                                   convert);
  return {.tensors = std::move(init.tensors),
          .origin = formatted("{}, converted by {}", loaded.source, config.init.method),
          .config = config.model,
          .init_method = config.init.method,
          .conversion = std::move(init.layers)};
}

const RoleState& RoleSet::at(const std::string& name) const {
  for (const RoleState& state : states) {
    if (state.role.name == name) return state;
  }
  TORCH_CHECK(false, "no role of this name: ", name);
}

RoleState& RoleSet::at(const std::string& name) {
  return const_cast<RoleState&>(std::as_const(*this).at(name));
}

bool RoleSet::has(const std::string& name) const {
  return std::ranges::any_of(states,
                             [&](const RoleState& state) { return state.role.name == name; });
}

RoleModels RoleSet::models() const {
  RoleModels models;
  for (const RoleState& state : states) models.emplace(state.role.name, state.config);
  return models;
}

model::Network RoleSet::network(const RoleState& state) const {
  return {state.config, state.source(), sequence.get()};
}

NetworkTable RoleSet::networks(bool recompute) const {
  NetworkTable table;
  for (const RoleState& state : states) {
    table.emplace(state.role.name, RoleNetwork{network(state), recompute});
  }
  return table;
}

std::unique_ptr<model::SequenceGroup> sequence_ranks(const distributed::Mesh& mesh) {
  if (mesh.shape().sequence == 1) return nullptr;
  return std::make_unique<distributed::SequenceRanks>(mesh.sequence());
}

RoleState make_role_state(const TrainConfig& config,
                          const Role& role,
                          const model::ModelConfig& model,
                          const model::TensorMap& tensors,
                          at::Device device,
                          const distributed::Mesh& mesh) {
  const auto compute = compute_dtype(config);
  const auto master = input_dtype(config);
  RoleState state;
  state.role = role;
  state.config = model;
  // A plan's roles have no data anywhere.
  const bool offloaded = is_offloaded(config, role.name) && !device.is_meta();
  const at::Device home = offloaded ? at::Device(at::kCPU) : device;
  if (role.training == Training::kFrozen) {
    // With the optimizer's state alone cut, frozen weights stay where they are: whole.
    if (cuts_used_weights(config) && mesh.shard().size() > 1) {
      state.frozen =
          std::make_unique<distributed::ShardedFrozenWeights>(model,
                                                              tensors,
                                                              role.name,
                                                              home,
                                                              device,
                                                              compute,
                                                              holds_weights(config.distributed),
                                                              mesh.shard());
    } else {
      state.frozen =
          std::make_unique<model::FrozenWeights>(model, tensors, role.name, home, compute);
      if (offloaded)
        state.uploaded = std::make_unique<model::UploadedWeights>(*state.frozen, device);
    }
    return state;
  }
  const bool trained = role.training == Training::kTrained;
  if (mesh.shape().world == 1) {
    state.weights = std::make_unique<model::TrainedWeights>(
        model, tensors, role.name, home, compute, master, trained);
  } else {
    const distributed::ShardingPolicy policy{
        .keep_gathered = stays_gathered(config, role),
        .scatter_gradients = scatters_gradients(config.distributed),
        .allow_hold = holds_weights(config.distributed)};
    state.weights = std::make_unique<distributed::ShardedWeights>(model,
                                                                  tensors,
                                                                  role.name,
                                                                  home,
                                                                  device,
                                                                  compute,
                                                                  master,
                                                                  trained,
                                                                  policy,
                                                                  mesh.shard(),
                                                                  mesh.replica());
  }
  // Parts are gathered where they are used; what is whole is copied there.
  if (offloaded && mesh.shard().size() == 1)
    state.uploaded = std::make_unique<model::UploadedWeights>(*state.weights, device);
  if (trained) {
    state.optimizer = std::make_unique<AdamW>(role.optimizer.value_or(config.optimizer),
                                              *state.weights,
                                              is_offloaded(config, "optimizer"));
  }
  return state;
}

namespace {

/// Sizes of what the checkpoint holds of a role. Its values are read into the role's buffers, where
/// they are, so that a rank reads no more than it holds; the tensors here have no memory of theirs.
InitialWeights saved_weights(const CheckpointInfo& saved, const Role& role) {
  const auto own = saved.role_models.find(role.name);
  InitialWeights weights{.tensors = {},
                         .origin = formatted("checkpoint of step {}", saved.step),
                         .config = own == saved.role_models.end() ? saved.model : own->second,
                         .init_method = {},
                         .conversion = {}};
  const at::Tensor zero = at::zeros({1});
  for (const int64_t unit : model::all_units(weights.config)) {
    for (const auto& spec : model::unit_layout(weights.config, unit))
      weights.tensors[spec.name] = zero.expand(spec.shape);
  }
  return weights;
}

}  // namespace

RoleSet build_roles(const TrainConfig& config,
                    const std::vector<Role>& roles,
                    const SavedStage* saved,
                    const distributed::Mesh& mesh) {
  RoleSet set;
  set.sequence = sequence_ranks(mesh);
  const at::Device device(config.train.device);
  std::map<std::string, InitialWeights> read;  // one source may serve several roles
  const auto initial = [&](const Role& role) -> const InitialWeights& {
    if (saved && role.training != Training::kFrozen) {
      return read[role.name] = saved_weights(saved->info, role);
    }
    const bool copies = role.training == Training::kEmaOf && !config.init_from.contains(role.name);
    if (copies) return read.at(role.ema_of);
    const std::string source = source_role(config, role);
    if (source != role.name && read.contains(source) && !saved) {
      return read[role.name] = read.at(source);
    }
    return read[role.name] = initial_weights(
               config, role.name, source, distributed::convert_shared(mesh.host(), config.model));
  };
  for (const Role& role : roles) {
    const InitialWeights& weights = initial(role);
    set.states.push_back(
        make_role_state(config, role, weights.config, weights.tensors, device, mesh));
    if (saved && role.training != Training::kFrozen) {
      read_pieces(*saved->tensors, role.name, held_pieces(*set.states.back().weights));
      set.states.back().weights->masters_changed();
    }
    if (role.name == "generator" && !saved) {
      set.generator_origin = weights;
      set.generator_origin.tensors.clear();  // the masters hold them now
    }
  }
  return set;
}

}  // namespace vmla::trainer
