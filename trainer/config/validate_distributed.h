#pragma once

#include <string>

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh_shape.h"

namespace vmla::trainer {

/// Checks the section `distributed` by itself. ConfigRuleError.
void validate_distributed(const TrainConfig& config);

/// How `world` ranks are arranged for the stage, `local_world` of them on each node.
/// ConfigRuleError names the key that does not fit that many ranks.
distributed::MeshShape mesh_shape(const TrainConfig& config, int64_t world, int64_t local_world);

/// Clips of a rank's forward pass: train.micro_batch_size, or its whole share of the batch where
/// that is less. ConfigRuleError when it does not divide the share.
int64_t micro_batch_of(const TrainConfig& config, int64_t data_ranks);

/// The stage with one rank's share of the batch.
TrainConfig of_one_rank(TrainConfig config, const distributed::MeshShape& mesh);

/// Whether gradients are summed in every backward (distributed.gradient_accumulation). Here and
/// below `auto` is what sends least; what fits in a device is asked by sharding_choice.
bool scatters_gradients(const DistributedConfig& config);

/// Whether `what` (a role, or "optimizer") stays in the host's memory.
bool is_offloaded(const TrainConfig& config, const std::string& what);

/// Whether gathered weights may be held (distributed.hold_weights).
bool holds_weights(const DistributedConfig& config);

}  // namespace vmla::trainer
