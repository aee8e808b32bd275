#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh_shape.h"

#include <string>

/// What the section `distributed` means for the ranks of a job: how they are arranged, what share
/// of a batch each takes, and what each keeps in memory.
namespace vmla::trainer {

/// How `world` ranks are arranged for the stage, `local_world` of them on each node: sharding:
/// hybrid cuts within a node unless distributed.shard_size says otherwise. ConfigRuleError names
/// the key that does not fit that many ranks.
distributed::MeshShape mesh_shape(const TrainConfig& config, int64_t world, int64_t local_world);

/// The least number of ranks that the sizes of the section `distributed` divide.
int64_t fewest_ranks(const DistributedConfig& config);

/// Clips in one forward pass of a rank: train.micro_batch_size, or the rank's whole share of the
/// batch (train.batch_size / data_ranks) where that is smaller. ConfigRuleError when it does not
/// divide the share.
int64_t micro_batch_of(const TrainConfig& config, int64_t data_ranks);

/// The stage as one rank runs it: train.batch_size is its share, train.micro_batch_size is stated.
TrainConfig of_one_rank(TrainConfig config, const distributed::MeshShape& mesh);

/// Whether gradients are summed over ranks in every backward (distributed.gradient_accumulation:
/// scattered) instead of once a step. Here and in holds_weights(), `auto` counts as the value with
/// the least communication, whether it fits in memory or not; sharding_choice looks at the memory.
bool scatters_gradients(const DistributedConfig& config);

/// Whether `what` (a role's name, or "optimizer": the moments of all roles) stays in the host's
/// memory and is on the GPU only while in use (distributed.offload).
bool is_offloaded(const TrainConfig& config, const std::string& what);

/// Whether weights that are cut over ranks may stay gathered from one pass to the next
/// (distributed.hold_weights).
bool holds_weights(const DistributedConfig& config);

}  // namespace vmla::trainer
