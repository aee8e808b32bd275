#pragma once

#include "trainer/distributed/collectives/mesh_shape.h"
#include "trainer/planner/planned_roles.h"

#include <string>

namespace vmla::trainer {

/// What the keys of the section `distributed` that say `auto` stand for.
struct ShardingChoice {
  DistributedConfig distributed;  // no `auto` in gradient_accumulation and hold_weights
  std::string reason;             // for people; empty when nothing was open
};

/// Share of a device's memory that tensors may fill: the rest is the driver's and the allocator's.
constexpr double kUsableMemory = 0.9;

/// Chooses what sends least of what fits, or, where nothing does, what needs least memory: a step
/// of each is planned. Without `device_memory` (bytes of one device; 0: not known, or the host's,
/// which is not asked for) everything is taken to fit.
ShardingChoice sharding_choice(const TrainConfig& config,
                               const std::vector<PlannedRole>& roles,
                               const ClipShape& clip,
                               int64_t text_rows,
                               const distributed::MeshShape& mesh,
                               double device_memory);

}  // namespace vmla::trainer
