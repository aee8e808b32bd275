#pragma once

#include "model/weights/local_weights.h"
#include "model/weights/uploaded_weights.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/optimizer.h"

#include <memory>

namespace vmla::trainer {

/// Whether sharding cuts the weights in use too, so that they are gathered for every use.
bool cuts_used_weights(const TrainConfig& config);

/// Whether what is gathered of a role stays until its weights change: for sharding that cuts
/// optimizer state alone, and for a role that rolls out where weights may be held.
bool stays_gathered(const TrainConfig& config, const Role& role);

/// One role of a run: its network's sizes, its weights in this process, and what trains them.
struct RoleState {
  Role role;
  model::ModelConfig config;
  std::unique_ptr<model::TrainedWeights> weights;  // trained, or a moving average
  std::unique_ptr<model::WeightSource> frozen;
  std::unique_ptr<AdamW> optimizer;  // of a trained role
  /// Of weights that stay in the host's memory (distributed.offload): as networks use them.
  std::unique_ptr<model::UploadedWeights> uploaded;

  model::WeightSource& source() const;
};

/// A role with these weights, on `device`; of cut buffers only the rank's part is read from
/// `tensors`.
RoleState make_role_state(const TrainConfig& config,
                          const Role& role,
                          const model::ModelConfig& model,
                          const model::TensorMap& tensors,
                          at::Device device,
                          const distributed::Mesh& mesh);

}  // namespace vmla::trainer
