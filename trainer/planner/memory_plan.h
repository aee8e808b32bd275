#pragma once

#include "trainer/distributed/collectives/mesh_shape.h"
#include "trainer/planner/planned_step.h"

#include <optional>
#include <string>
#include <vector>

namespace vmla::trainer {

/// What a plan is asked for.
struct MemoryRequest {
  distributed::MeshShape mesh = {};  // the ranks that share the work (mesh_shape)
  double gpu_memory = 0;  // bytes of one, to fit in; 0: the largest micro-batch is not looked for
  int64_t text_rows = 0;  // of the batches' texts; 0: text_len, the most there can be
};

/// The key-value cache of one video that is being sampled, without guidance (with: twice that).
struct RequestCache {
  int64_t frames = 0;  // kept at once
  int64_t bytes = 0;
  int64_t dense_bytes = 0;  // of a dense model of the same sizes
};

struct RoleMemory {
  PlannedRole role;
  RoleBytes bytes;
};

/// Memory and arithmetic of a stage, of one rank, and what it sends to the others.
struct MemoryPlan {
  TrainConfig config;  // with a rank's batch and micro-batch, and what `auto` stands for
  std::string sharding_reason;
  MemoryRequest request;
  ClipShape clip;
  int64_t step_clips = 0;  // of all ranks
  std::vector<RoleMemory> roles;
  StepMemory step;
  int64_t checkpoint_bytes = 0;     // of all ranks together
  int64_t host_copy_bytes = 0;      // this rank's part of it, copied while it is being saved
  int64_t rollout_cache_bytes = 0;  // of a training rollout, part of its player's kept bytes
  RequestCache cache;
  std::vector<PhaseFlops> flops;  // of one clip
  std::optional<int64_t> largest_micro_batch;

  double step_flops() const { return total_flops(flops) * static_cast<double>(step_clips); }
};

/// Plans a stage before anything of it exists: no data and no weights are needed (where files are
/// there, their headers say the sizes). UserError when the batch does not divide over the ranks.
MemoryPlan plan_memory(const TrainConfig& config,
                       const ClipShape& clip,
                       const MemoryRequest& request);
/// The same for roles whose sizes are known.
MemoryPlan plan_memory(const TrainConfig& config,
                       const std::vector<PlannedRole>& roles,
                       const ClipShape& clip,
                       const MemoryRequest& request);

/// The plan as a table for people, and as JSON (all sizes in bytes) for programs.
std::string memory_table(const MemoryPlan& plan);
std::string memory_json(const MemoryPlan& plan);

/// Three figures: "31.2 MB"; "-" for nothing.
std::string size_text(int64_t bytes);

/// "predicted 31.2 MB, measured 30.9 MB (ratio 1.01)".
std::string memory_comparison(int64_t predicted_bytes, int64_t measured_bytes);

}  // namespace vmla::trainer
