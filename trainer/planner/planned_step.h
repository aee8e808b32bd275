#pragma once

#include "model/network/executed_work.h"
#include "trainer/inputs/planned_media.h"
#include "trainer/planner/planned_roles.h"
#include "trainer/telemetry/tensor_memory.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// A phase of a player's update: the time in which one network runs in one way. A role may have
/// several
/// ("generator rollout", "generator forward", "generator backward"), and a phase may come again,
/// for each chunk or micro-batch.
struct PlannedPhase {
  /// "generator forward", "real_score without gradient", ...
  std::string name;
  /// The most that tensors hold on the device during the phase, with all that stays.
  int64_t peak_bytes = 0;
  /// What a rank executes in all its micro-batches, recomputation included. Rollouts are the
  /// longest, with all their denoising steps; of frames that a codec decodes the first five are
  /// counted. The optimizer's: norm, AdamW and averages, of which the first counts as on the
  /// device where it lies in the host's memory. Nothing in a plan that does not count.
  model::ExecutedWork::Count executed = {};
};

/// What a rank sends to others.
struct SentBytes {
  distributed::CommCounters all;
  /// Of `all`: what goes to the ranks that share its clip (sequence parallelism).
  distributed::CommCounters tokens;
  SentBytes& operator+=(const SentBytes& other);
};

/// One player's update.
struct UpdateMemory {
  std::string player;
  /// In the order in which they first run.
  std::vector<PlannedPhase> phases;
  /// A micro-batch and its draws.
  int64_t input_bytes = 0;
  /// The most that the update has made when a backward begins, inputs and roles left out: the
  /// units' activations, or their inputs where blocks are recomputed, and a rollout and its cache.
  int64_t kept_bytes = 0;
  int64_t peak_bytes = 0;
  /// What a rank sends in an update, all its micro-batches and the closing report: `sent` in a step
  /// that updates every player, `sent_between` in a step that updates only the players
  /// with update_every = 1 (0 for the others). They differ because weights that another player's
  /// update needed may still be gathered.
  SentBytes sent, sent_between;
  /// The phase with the highest peak.
  const PlannedPhase& highest() const;
};

/// What a step of the stage holds and sends. The step itself is run, on tensors that have sizes and
/// no data (the meta device), so nothing is fitted: every byte is a tensor that a real step makes.
///
/// Not seen are temporaries inside one LibTorch operation (packing for a matrix product, a
/// reduction's partial sums); they are smaller than one activation.
struct StepMemory {
  /// What the roles hold all the time, mapped files and offloaded parts left out.
  int64_t resident_bytes = 0;
  /// The codec's weights, where they lie on the device and are not mapped from their file.
  int64_t codec_bytes = 0;
  /// Batches that are read ahead, where the loader's device is the step's (a CPU).
  int64_t loader_bytes = 0;
  /// Activations in the host's memory (distributed.offload).
  int64_t host_activation_bytes = 0;
  std::vector<UpdateMemory> updates;
  int64_t peak_bytes = 0;
  /// Steps after which every player has been updated at least once.
  int64_t cycle_steps = 1;
  /// Bytes that a rank sends in `cycle_steps` steps. Rollouts are planned as the longest ones that
  /// run all their denoising steps; drawn ones send less where each pass sends something, that is,
  /// under sequence parallelism and where weights are not held.
  double cycle_bytes() const;
};

/// Plans a step. `config` has one rank's share of the batch (of_one_rank) and no `auto` in
/// `distributed`. The groups of `mesh` need not move anything (dry_mesh). One plan at a time in a
/// process: tensors of the meta device are counted together. With `work`, which counts what is
/// executed on that device, the phases say what they execute, and the plan takes longer.
StepMemory planned_step(const TrainConfig& config,
                        const std::vector<PlannedRole>& roles,
                        const PlannedMedia& media,
                        const distributed::Mesh& mesh,
                        model::ExecutedWork* work = nullptr);

}  // namespace vmla::trainer
