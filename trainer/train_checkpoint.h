#pragma once

#include "trainer/checkpoint.h"
#include "trainer/media_info.h"
#include "trainer/role_state.h"
#include "trainer/train_config.h"

#include <filesystem>
#include <optional>

namespace vmla::trainer {

/// What outlives a step and is not a weight. Everything a resumed run needs beside the roles.
struct TrainState {
  int64_t step = 0;          // optimizer steps done
  int64_t samples_seen = 0;  // position in the data order
};

/// What this process saves: its pieces of all roles and optimizer states (views, which follow later
/// updates), the configuration and the data position. With `writes` false another rank holds the
/// same pieces and saves them.
CheckpointShare training_share(const TrainConfig& config,
                               const RoleSet& roles,
                               const TrainState& state,
                               const MediaInfo& media,
                               bool writes = true);

/// The checkpoint to go on from: `resume` is auto (the newest intact one, if any), never, or a
/// path. Complaints about damaged ones that were passed over are logged.
std::optional<std::filesystem::path> find_resume(const std::filesystem::path& checkpoints,
                                                 const std::string& resume);

/// State of the loop, and optimizer state put into `roles`, from a checkpoint.
TrainState restore_training(const CheckpointData& checkpoint, RoleSet& roles);

}  // namespace vmla::trainer
