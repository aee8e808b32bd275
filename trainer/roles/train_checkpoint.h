#pragma once

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/saved_stage.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"
#include "trainer/roles/role_set.h"

namespace vmla::trainer {

/// What outlives a step and is not a weight. Everything a resumed run needs beside the roles.
struct TrainState {
  int64_t step = 0;          // optimizer steps done
  int64_t samples_seen = 0;  // position in the data order
};

/// What this process saves: its share of all roles and optimizer states (views, which follow later
/// updates), the configuration and the data position. The ranks of `replicas` hold the same pieces;
/// each saves a part of them.
CheckpointShare training_share(const TrainConfig& config,
                               const RoleSet& roles,
                               const TrainState& state,
                               const MediaInfo& media,
                               const distributed::Communicator& replicas);

/// State of the loop, and what this process holds of the optimizer state put into `roles`, from a
/// checkpoint. UserError if it has none.
TrainState restore_training(const SavedStage& saved, RoleSet& roles);

}  // namespace vmla::trainer
