#pragma once

#include <filesystem>
#include <optional>

#include "trainer/checkpoint/saved_stage.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"
#include "trainer/objectives/objective.h"

/// What can be checked of a stage before anything that it starts from has been made: by --dry-run,
/// and by a sweep of all its cells.
namespace vmla::trainer {

/// Codec, text encoder and clip shape as the stage's own checkpoint states them, else as the
/// checkpoint that its generator starts from does; a prompt set does not state them itself.
std::optional<MediaInfo> known_media(const TrainConfig& config,
                                     const std::optional<SavedStage>& checkpoint);

/// Checks all that is there; data and weights that are still to be made are passed over. UserError.
void check_plan(const TrainConfig& config, const Objective& objective);

/// The checks of a stage that need neither its run folder nor what other stages of a pipeline or
/// sweep are still to make. Nothing is computed or written. UserError. `dry_run`: videos and codecs
/// that are not on this machine are a warning.
void check_stage(const TrainConfig& config, const std::filesystem::path& run_dir, bool dry_run);

}  // namespace vmla::trainer
