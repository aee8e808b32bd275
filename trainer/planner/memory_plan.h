#pragma once

#include "trainer/distributed/collectives/mesh_shape.h"
#include "trainer/planner/planned_step.h"

#include <optional>
#include <string>
#include <vector>

namespace vmla::trainer {

/// What a plan is asked for.
struct MemoryRequest {
  /// The ranks that share the work (mesh_shape).
  distributed::MeshShape mesh = {};
  /// Bytes of one GPU, for which the largest micro-batch that fits is looked for, and for which
  /// `auto` in `distributed` is decided; 0: neither.
  double gpu_memory = 0;
};

/// The key-value cache of one video that is being sampled without guidance; with guidance it is
/// twice that (docs/algorithms.md 15.3).
struct RequestCache {
  /// Latent frames that are kept at once.
  int64_t frames = 0;
  int64_t bytes = 0;
  /// What a dense model of the same sizes would keep.
  int64_t dense_bytes = 0;
};

/// Videos that one GPU samples side by side (largest_stream_batch), of this model and of a dense
/// one of its sizes.
struct Streams {
  int64_t own = 0, dense = 0;
};

/// A role and what one rank holds of it.
struct RoleMemory {
  PlannedRole role;
  RoleBytes bytes;
};

/// Memory and arithmetic of a stage on one rank, and what that rank sends to the others.
struct MemoryPlan {
  /// The stage as one rank runs it: its share of the batch, and values in place of `auto`.
  TrainConfig config;
  /// Why these values were chosen (ShardingChoice::reason).
  std::string sharding_reason;
  MemoryRequest request;
  PlannedMedia media;
  /// Clips of a step, over all ranks.
  int64_t step_clips = 0;
  std::vector<RoleMemory> roles;
  StepMemory step;
  /// Of all ranks together.
  int64_t checkpoint_bytes = 0;
  /// This rank's part of a checkpoint, which is copied to the host's memory while it is being
  /// saved.
  int64_t host_copy_bytes = 0;
  /// The cache of a training rollout; among the kept bytes of its player's update.
  int64_t rollout_cache_bytes = 0;
  RequestCache cache;
  /// None: no size of a GPU was given.
  std::optional<Streams> streams;
  /// Of one clip's share of the players' updates.
  std::vector<PhaseFlops> flops;
  /// Clips; 0: not even one fits. None: not asked for.
  std::optional<int64_t> largest_micro_batch;

  /// Model FLOPs of a step, over all ranks.
  double step_flops() const { return total_flops(flops) * static_cast<double>(step_clips); }
};

/// Plans a stage before anything of it exists: neither data nor weights are needed; where weights'
/// files are there, their headers state the sizes. UserError where the batch does not divide over
/// the ranks.
MemoryPlan plan_memory(const TrainConfig& config,
                       const PlannedMedia& media,
                       const MemoryRequest& request);
/// The same for roles whose sizes are known.
MemoryPlan plan_memory(const TrainConfig& config,
                       const std::vector<PlannedRole>& roles,
                       const PlannedMedia& media,
                       const MemoryRequest& request);

/// The plan as a table for people, and as JSON (all sizes in bytes) for programs.
std::string memory_table(const MemoryPlan& plan);
std::string memory_json(const MemoryPlan& plan);

/// A size in decimal units and three figures, "31.2 MB"; "-" for 0.
std::string size_text(int64_t bytes);

/// "predicted 31.2 MB, measured 30.9 MB (ratio 1.01)".
std::string memory_comparison(int64_t predicted_bytes, int64_t measured_bytes);

}  // namespace vmla::trainer
