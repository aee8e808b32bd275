#include "trainer/role_state.h"

#include "model/io/error.h"
#include "model/load_weights.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

at::ScalarType compute_dtype(const TrainConfig& config) {
  return config.train.precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

/// Fails when a source's sizes contradict the section `model`: shapes would not tell heads or text
/// length.
void expect_same_sizes(const model::ModelConfig& wanted, const model::LoadedWeights& loaded) {
  if (!loaded.config_is_complete) return;
  if (loaded.config.num_heads != wanted.num_heads || loaded.config.text_len != wanted.text_len) {
    fail_user("model.num_heads ",
              wanted.num_heads,
              " and model.text_len ",
              wanted.text_len,
              " do not fit ",
              loaded.source,
              ", which has ",
              loaded.config.num_heads,
              " and ",
              loaded.config.text_len);
  }
}

}  // namespace

model::WeightSource& RoleState::source() const {
  if (weights) return *weights;
  return *frozen;
}

InitialWeights initial_weights(const TrainConfig& config, const std::string& role) {
  const auto source = config.init_from.find(role);
  if (source == config.init_from.end()) {
    return {.tensors = model::random_weights(config.model, static_cast<uint64_t>(config.seed)),
            .origin = cat("drawn at random, seed ", config.seed),
            .init_method = {},
            .conversion = {}};
  }
  const model::LoadedWeights loaded = model::load_weights(source->second.path, source->second.role);
  const bool converts = config.model.is_mla() && !loaded.config.is_mla();
  if (!converts) {
    if (config.model.is_mla() != loaded.config.is_mla()) {
      fail_user("init_from.",
                role,
                ": ",
                loaded.source,
                " is latent attention, model.attention is dense: there is no way back");
    }
    expect_same_sizes(config.model, loaded);
    model::check_weights(config.model, loaded.tensors, loaded.source);
    return {
        .tensors = loaded.tensors, .origin = loaded.source, .init_method = {}, .conversion = {}};
  }
  if (config.init.method.empty()) {
    fail_user("init_from.",
              role,
              ": ",
              loaded.source,
              " is dense and model.attention is mla: init.method must say how to convert it "
              "(svd_weight or random)");
  }
  model::ModelConfig dense = loaded.config;
  if (!loaded.config_is_complete) {  // shapes alone do not tell these two: the stage's model does
    dense.num_heads = config.model.num_heads;
    dense.text_len = config.model.text_len;
  }
  model::MlaInit init = model::init_mla_from_dense(
      config.model, dense, loaded.tensors, config.init.method, static_cast<uint64_t>(config.seed));
  return {.tensors = std::move(init.tensors),
          .origin = cat(loaded.source, ", converted by ", config.init.method),
          .init_method = config.init.method,
          .conversion = std::move(init.layers)};
}

RoleState& RoleSet::at(const std::string& name) {
  for (RoleState& state : states) {
    if (state.role.name == name) return state;
  }
  TORCH_CHECK(false, "no role of this name: ", name);
}

bool RoleSet::has(const std::string& name) const {
  for (const RoleState& state : states) {
    if (state.role.name == name) return true;
  }
  return false;
}

NetworkTable RoleSet::networks(bool recompute) const {
  NetworkTable table;
  for (const RoleState& state : states) {
    table.emplace(state.role.name, RoleNetwork{{state.config, state.source()}, recompute});
  }
  return table;
}

RoleSet build_roles(const TrainConfig& config,
                    const std::vector<Role>& roles,
                    const std::map<std::string, model::TensorMap>* saved) {
  RoleSet set;
  const at::Device device(config.train.device);
  const auto compute = compute_dtype(config);
  const auto weights_of = [&](const std::string& role) -> model::TensorMap {
    if (!saved) {
      InitialWeights initial = initial_weights(config, role);
      model::TensorMap tensors = initial.tensors;
      if (role == "generator") set.generator_origin = std::move(initial);
      return tensors;
    }
    const auto found = saved->find(role);
    if (found == saved->end()) fail_run("the checkpoint has no role ", role);
    return found->second;
  };
  for (const Role& role : roles) {
    RoleState state{.role = role,
                    .config = config.model,
                    .weights = nullptr,
                    .frozen = nullptr,
                    .optimizer = nullptr};
    const model::TensorMap tensors = weights_of(role.name);
    if (role.training == Training::kFrozen) {
      state.frozen =
          std::make_unique<model::FrozenWeights>(state.config, tensors, role.name, device, compute);
    } else {
      state.weights = std::make_unique<model::TrainedWeights>(state.config,
                                                              tensors,
                                                              role.name,
                                                              device,
                                                              compute,
                                                              at::kFloat,
                                                              role.training == Training::kTrained);
    }
    if (role.training == Training::kTrained)
      state.optimizer = std::make_unique<AdamW>(config.optimizer, *state.weights);
    set.states.push_back(std::move(state));
  }
  return set;
}

}  // namespace vmla::trainer
