#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/config/model_config.h"
#include "model/formats/checkpoint_reader.h"
#include "model/formats/safetensors.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/shared_save.h"
#include "trainer/checkpoint/checkpoint_pieces.h"

/// Checkpoints: `step_N/` with manifest.json and one safetensors file a role and writer. A folder
/// appears whole, after everything in it is on disk; the symlink `latest` moves last.
/// docs/formats.md describes the files.
namespace vmla::trainer {

/// What a checkpoint says besides its tensors.
struct CheckpointInfo {
  int64_t step = 0;
  std::string stage;
  std::map<std::string, int64_t> counters;
  std::map<std::string, io::ManifestValue> data_position;  // whole numbers and texts
  std::string config_yaml;                                 // the resolved configuration
  model::ModelConfig model;  // of every role that is not in role_models
  std::string init_method;   // how the generator came from dense weights; empty: it did not
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

/// All of it, for a rank that is alone.
CheckpointShare whole_share(const CheckpointData& data);

/// Writes CHECKPOINTS_FOLDER/step_N and moves `latest` to it. On any failure (RunError) the
/// checkpoints that were there, and `latest`, are as before.
///
/// Several writers each call it with their shares: together these hold every element once (a
/// replica's pieces are left out). The call returns when the checkpoint is in place; it fails on
/// all of them if it fails on one (io::SaveFailedElsewhere where another says why). `cancelled`,
/// which another thread may set, ends the wait for the others.
std::filesystem::path save_checkpoint(const std::filesystem::path& checkpoints_folder,
                                      const CheckpointShare& share,
                                      const io::SavePlace& place = {},
                                      const std::atomic<bool>* cancelled = nullptr);
std::filesystem::path save_checkpoint(const std::filesystem::path& checkpoints_folder,
                                      const CheckpointData& data);

/// Reads a checkpoint: a step folder, `latest`, a run folder or its checkpoints folder. However
/// many ranks wrote it, tensors come back whole. They are mapped read-only: clone before writing.
/// UserError names the file and what is wrong if anything is incomplete or altered.
CheckpointData load_checkpoint(const std::filesystem::path& path);

/// What an open checkpoint says besides its tensors; a rank then reads its part of these with
/// model::CheckpointRanges.
CheckpointInfo checkpoint_info(const model::CheckpointFolder& checkpoint);

/// The tensors of one role; only the files that hold it are read and compared with their hashes.
model::TensorMap load_checkpoint_role(const std::filesystem::path& path, const std::string& role);

/// The complete-looking step folders of a checkpoints folder, oldest first.
std::vector<std::filesystem::path> list_checkpoints(
    const std::filesystem::path& checkpoints_folder);

/// Removes old checkpoints; the newest `keep_last` (at least one), multiples of `keep_every` (0:
/// none) and the one `latest` points to stay. Returns what was removed.
std::vector<std::filesystem::path> prune_checkpoints(
    const std::filesystem::path& checkpoints_folder, int64_t keep_last, int64_t keep_every);

/// Those who look for a checkpoint together; by default there is one.
struct Readers {
  int64_t index = 0;
  int64_t count = 1;
  /// What reader 0 says, on each of them.
  std::function<std::string(const std::string& mine)> first_says = [](const auto& mine) {
    return mine;
  };
  /// Whether `mine` is true on each of them.
  std::function<bool(bool mine)> all = [](bool mine) { return mine; };
};

/// For automatic resume: the newest checkpoint whose every file has the right hash; nothing if
/// there is none. `complaints` of reader 0 gets one line for each newer one that was passed over.
/// Each reader compares the hashes of its share.
std::optional<std::filesystem::path> newest_intact_checkpoint(
    const std::filesystem::path& checkpoints_folder,
    std::vector<std::string>* complaints,
    const Readers& readers = {});

}  // namespace vmla::trainer
