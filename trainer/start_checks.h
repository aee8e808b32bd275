#pragma once

#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"

#include <filesystem>

/// What a stage will need hours later, tried before its first step, and by --dry-run.
namespace vmla::trainer {

/// Reads the prompts that will be sampled and what a missing dataset would be made from, and looks
/// whether the run folder can be written. Nothing is computed, made or written. UserError names the
/// key and the file. A plan (`dry_run`) may be made on a machine that has no data: videos that are
/// not there are then a warning.
void check_inputs(const TrainConfig& config, const std::filesystem::path& run_dir, bool dry_run);

/// Encodes every prompt that will be sampled, with the encoder of the stage's data: UserError names
/// one that has more rows than model.text_len.
void check_prompt_texts(const TrainConfig& config, const MediaInfo& media);

}  // namespace vmla::trainer
