#pragma once

#include "trainer/planned_roles.h"
#include "trainer/tensor_memory.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// A stretch of a player's update in which one network runs one way, and the most that tensors hold
/// in it, everything that stays included.
struct PhaseMemory {
  std::string name;  // "generator forward", "real_score without gradient", ...
  int64_t peak_bytes = 0;
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
  /// To other ranks in an update, all its micro-batches and the report that ends it: in a step that
  /// updates every player, and in one that updates only those of every step (empty for others).
  distributed::CommCounters sent, sent_between;
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
};

/// `text_rows`: rows of the batches' texts, at most text_len. `config` has a rank's share of the
/// batch; the groups of `mesh` need not move anything.
StepMemory planned_step(const TrainConfig& config,
                        const std::vector<PlannedRole>& roles,
                        const ClipShape& clip,
                        int64_t text_rows,
                        const distributed::Mesh& mesh);

}  // namespace vmla::trainer
