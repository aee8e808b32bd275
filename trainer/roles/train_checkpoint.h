#pragma once

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/saved_stage.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"
#include "trainer/roles/role_set.h"

namespace vmla::trainer {

/// Where a stage stands: all that a resumed run needs besides weights and moments. There is no
/// state of a random generator, for draws are functions of step and sample (docs/algorithms.md 12).
struct TrainState {
  /// Steps that are done.
  int64_t step = 0;
  /// Position in the data order: samples that all updates have taken, over all ranks.
  int64_t samples_seen = 0;
  /// A signal had come before all that was due after the step was measured.
  bool unobserved = false;
};

/// What this process saves: its share of all trained roles, averages and optimizer states, the
/// configuration and the data position. The tensors are views of the live buffers, which later
/// updates change: whoever saves must have copied them by then. The ranks of `replicas` hold the
/// same pieces, and each of them saves a part of these.
CheckpointShare training_share(const TrainConfig& config,
                               const RoleSet& roles,
                               const TrainState& state,
                               const MediaInfo& media,
                               const distributed::Communicator& replicas);

/// Reads this process's part of the optimizer state from a checkpoint into `roles`, whose weights
/// build_roles has read already, and returns where the loop goes on. UserError where the checkpoint
/// holds no optimizer state.
TrainState restore_training(const SavedStage& saved, RoleSet& roles);

}  // namespace vmla::trainer
