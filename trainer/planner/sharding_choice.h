#pragma once

#include "trainer/distributed/collectives/mesh_shape.h"
#include "trainer/inputs/planned_media.h"
#include "trainer/planner/planned_roles.h"

#include <string>

namespace vmla::trainer {

/// The section `distributed` with values in place of `auto`.
struct ShardingChoice {
  /// gradient_accumulation and hold_weights are not `auto` any more.
  DistributedConfig distributed;
  /// Why these values, for people; empty where nothing was to be decided.
  std::string reason;
};

/// The share of a device's memory that tensors may fill; the rest is for the driver and for gaps
/// that the allocator leaves.
constexpr double kUsableMemory = 0.9;

/// Decides gradient_accumulation and hold_weights where they are `auto`: among the settings whose
/// planned step fits in memory, the one with the least communication; where none fits, the one that
/// needs the least memory. `device_memory`: bytes of one device, the smallest of the job's; 0: not
/// known (a CPU's memory is shared by its ranks), then every setting is taken to fit. All ranks
/// must pass the same, so that they decide the same.
ShardingChoice sharding_choice(const TrainConfig& config,
                               const std::vector<PlannedRole>& roles,
                               const PlannedMedia& media,
                               const distributed::MeshShape& mesh,
                               double device_memory);

}  // namespace vmla::trainer
