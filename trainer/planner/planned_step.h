#pragma once

#include "trainer/planner/planned_roles.h"
#include "trainer/telemetry/tensor_memory.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// A stretch of a player's update in which one network runs one way, and the most that tensors hold
/// in it, everything that stays included.
struct PhaseMemory {
  std::string name;  // "generator forward", "real_score without gradient", ...
  int64_t peak_bytes = 0;
};

/// What a rank sends to others.
struct SentBytes {
  distributed::CommCounters all;
  distributed::CommCounters tokens;  // of all: to the ranks that share its clip
  SentBytes& operator+=(const SentBytes& other);
};

/// One player's update.
struct UpdateMemory {
  std::string player;
  std::vector<PhaseMemory> phases;  // in the order in which they first run
  int64_t input_bytes = 0;          // the micro-batch and its draws
  int64_t kept_bytes =
      0;  // the most that waits for a backward beyond what was there before: graphs
          // of the units, or their inputs under recompute, and rollout and caches
  int64_t peak_bytes = 0;
  /// In an update, all its micro-batches and the report that ends it: in a step that updates every
  /// player, and in one that updates only those of every step (nothing for others).
  SentBytes sent, sent_between;
  const PhaseMemory& highest() const;
};

/// What a step of the stage holds: the step itself is run, on tensors that have sizes and no data
/// (the meta device). Nothing is fitted: every byte is a tensor that a real step makes.
///
/// Only library temporaries inside one LibTorch operation are not seen (packing for a matrix
/// product, a reduction's partial sums); they are smaller than one activation.
struct StepMemory {
  int64_t resident_bytes = 0;  // of the roles; mapped files left out
  int64_t loader_bytes = 0;    // batches read ahead, where the loader shares the step's device
  std::vector<UpdateMemory> updates;
  int64_t peak_bytes = 0;
  int64_t cycle_steps = 1;  // in which every player is updated at least once
  /// Bytes that a rank sends in so many steps. Rollouts are the longest ones and run all their
  /// steps: this matters where a pass sends something, that is, under sequence parallelism and
  /// where weights are not held.
  double cycle_bytes() const;
};

/// `text_rows`: rows of the batches' texts, at most text_len. `config` has a rank's share of the
/// batch; the groups of `mesh` need not move anything.
StepMemory planned_step(const TrainConfig& config,
                        const std::vector<PlannedRole>& roles,
                        const ClipShape& clip,
                        int64_t text_rows,
                        const distributed::Mesh& mesh);

}  // namespace vmla::trainer
