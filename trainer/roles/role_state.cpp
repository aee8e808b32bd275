#include "trainer/roles/role_state.h"

#include "trainer/config/rank_arrangement.h"
#include "trainer/distributed/sharding/sharded_frozen_weights.h"
#include "trainer/distributed/sharding/sharded_weights.h"
#include "trainer/distributed/sharding/sharding_mode.h"
#include "trainer/roles/stage_precision.h"

#include <ATen/ATen.h>

namespace vmla::trainer {

bool cuts_used_weights(const TrainConfig& config) {
  return distributed::sharding_mode(config.distributed.sharding).cuts_used_weights;
}

bool stays_gathered(const TrainConfig& config, const Role& role) {
  return !cuts_used_weights(config) || (role.rolls_out && holds_weights(config.distributed));
}

model::WeightSource& RoleState::source() const {
  // `uploaded` stands in front of the weights that it copies from.
  if (uploaded) return *uploaded;
  if (weights) return *weights;
  return *frozen;
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
  const bool offloaded = is_offloaded(config, role.name);
  const model::Home home = offloaded ? model::Home::offloaded_from(device) : model::Home(device);
  if (role.training == Training::kFrozen) {
    // Where sharding cuts masters and moments alone, a frozen role has nothing to cut.
    if (cuts_used_weights(config) && mesh.shard().size() > 1) {
      state.frozen = std::make_unique<distributed::ShardedFrozenWeights>(
          distributed::ShardedFrozenWeights::Setup{.config = model,
                                                   .tensors = tensors,
                                                   .source = role.name,
                                                   .home = home,
                                                   .compute_dtype = compute,
                                                   .allow_hold = holds_weights(config.distributed),
                                                   .shard = mesh.shard()});
    } else {
      state.frozen =
          std::make_unique<model::FrozenWeights>(model, tensors, role.name, home.lies, compute);
      if (offloaded)
        state.uploaded = std::make_unique<model::UploadedWeights>(*state.frozen, device);
    }
    return state;
  }
  // Trained roles and averages have masters; only a trained one has gradients and an optimizer.
  const bool trained = role.training == Training::kTrained;
  if (mesh.shape().world == 1) {
    state.weights = std::make_unique<model::TrainedWeights>(
        model, tensors, role.name, home, compute, master, trained);
  } else {
    const distributed::ShardingPolicy policy{
        .keep_gathered = stays_gathered(config, role),
        .scatter_gradients = scatters_gradients(config.distributed),
        .allow_hold = holds_weights(config.distributed)};
    state.weights = std::make_unique<distributed::ShardedWeights>(
        distributed::ShardedWeights::Setup{.config = model,
                                           .tensors = tensors,
                                           .source = role.name,
                                           .home = home,
                                           .compute_dtype = compute,
                                           .master_dtype = master,
                                           .with_gradients = trained,
                                           .policy = policy,
                                           .shard = mesh.shard(),
                                           .replica = mesh.replica()});
  }
  if (offloaded && device.is_cuda()) state.shuttle = std::make_unique<HostShuttle>(device);
  // A part in the host's memory comes to the device when it is gathered; whole weights are copied.
  if (offloaded && mesh.shard().size() == 1)
    state.uploaded = std::make_unique<model::UploadedWeights>(*state.weights, device);
  if (trained) {
    state.optimizer = std::make_unique<AdamW>(role.optimizer.value_or(config.optimizer),
                                              *state.weights,
                                              is_offloaded(config, "optimizer"));
  }
  return state;
}

}  // namespace vmla::trainer
