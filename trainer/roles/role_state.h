#pragma once

#include "model/weights/local_weights.h"
#include "model/weights/uploaded_weights.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/optimizer.h"

#include <memory>

namespace vmla::trainer {

/// Whether sharding cuts not only masters and moments but also the weights that are computed with,
/// so that a unit is gathered for every use (sharding: full and hybrid).
bool cuts_used_weights(const TrainConfig& config);

/// Whether gathered weights of the role stay until they change: always where sharding does not cut
/// the weights in use, and for a role that rolls out where distributed.hold_weights allows it.
bool stays_gathered(const TrainConfig& config, const Role& role);

/// One role of a run: its network's sizes, its weights in this process, and what trains them.
/// Either `weights` or `frozen` is there.
struct RoleState {
  Role role;
  model::ModelConfig config;
  /// Of a trained role or a moving average: masters, and gradients of a trained one.
  std::unique_ptr<model::TrainedWeights> weights;
  /// Of a frozen role.
  std::unique_ptr<model::WeightSource> frozen;
  /// Of a trained role.
  std::unique_ptr<AdamW> optimizer;
  /// Of whole weights that stay in the host's memory (distributed.offload): what brings a unit to
  /// the GPU while a network uses it.
  std::unique_ptr<model::UploadedWeights> uploaded;
  /// Of a moving average in the host's memory: what lends it to the GPU that moves it. The host
  /// waits for it before it reads the masters.
  std::unique_ptr<HostShuttle> shuttle;

  /// Where a network takes the weights from.
  model::WeightSource& source() const;
};

/// A role of sizes `model` with the weights `tensors` (by their Wan names), computing on `device`.
/// Of buffers that are cut over ranks only this rank's part is read from `tensors`. On the meta
/// device nothing has data: a plan's roles.
RoleState make_role_state(const TrainConfig& config,
                          const Role& role,
                          const model::ModelConfig& model,
                          const model::TensorMap& tensors,
                          at::Device device,
                          const distributed::Mesh& mesh);

}  // namespace vmla::trainer
