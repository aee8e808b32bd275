#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "model/config/model_config.h"
#include "model/formats/checkpoint_reader.h"
#include "model/formats/safetensors.h"
#include "model/io/checkpoint_manifest.h"
#include "trainer/checkpoint/checkpoint_pieces.h"

/// Checkpoints: `step_N/` with manifest.json and one safetensors file for each role and writer. A
/// folder appears whole, after everything in it is on disk; the symlink `latest` moves last.
/// docs/formats.md describes the files.
namespace vmla::trainer {

/// What a checkpoint says besides its tensors.
struct CheckpointInfo {
  int64_t step = 0;
  std::string stage;
  std::map<std::string, int64_t> counters;
  std::map<std::string, io::ManifestValue> data_position;  // whole numbers and texts
  /// The resolved configuration.
  std::string config_yaml;
  /// Sizes of every role that is not in role_models.
  model::ModelConfig model;
  /// How the generator came from dense weights; empty: it did not.
  std::string init_method;
  std::map<std::string, model::ModelConfig> role_models;
};

/// Everything a run needs to go on. `roles` holds weights ("generator", "generator_ema") under
/// their Wan names, and optimizer state as a role of its own ("generator.optimizer":
/// "exp_avg_sq/<weight's name>").
struct CheckpointData : CheckpointInfo {
  std::map<std::string, model::TensorMap> roles;
};

/// The same as one of several ranks has it: its pieces of every role, which may be none.
struct CheckpointShare : CheckpointInfo {
  std::map<std::string, PieceMap> roles;
};

/// Reads a checkpoint: a step folder, `latest`, a run folder or its checkpoints folder. However
/// many ranks wrote it, tensors come back whole. They are mapped read-only: clone before writing.
/// UserError names the file and what is wrong if anything is incomplete or altered.
CheckpointData load_checkpoint(const std::filesystem::path& path);

/// What an open checkpoint says besides its tensors, of which a rank then reads its part with
/// model::CheckpointRanges.
CheckpointInfo checkpoint_info(const model::CheckpointFolder& checkpoint);

}  // namespace vmla::trainer
