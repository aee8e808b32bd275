#pragma once

#include "data/store/dataset_identity.h"
#include "trainer/checkpoint/saved_stage.h"
#include "trainer/config/config_difference.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/inputs/stage_data.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

/// A run that goes on from a checkpoint: what it may change, and what it is told.
namespace vmla::trainer {

/// The checkpoint that a stage goes on from, if any, and how today's configuration differs from
/// that of the checkpoint.
struct Resume {
  std::optional<SavedStage> checkpoint;
  /// The configuration that the checkpoint was saved with.
  TrainConfig saved = {};
  std::vector<ConfigDifference> differences = {};
};

/// Opens the checkpoint that `resume` asks for (StageRequest) and compares the configurations.
/// UserError where today's would change what was already trained. Collective.
Resume open_checkpoint(const TrainConfig& config,
                       const std::filesystem::path& run_dir,
                       const std::string& resume,
                       const distributed::Mesh& mesh);

/// Which clips the stage trains on, for its checkpoints. UserError on a rank whose clips are not
/// the lead's, and on all where they are not those of the checkpoint. Collective.
data::DatasetIdentity checked_identity(const TrainConfig& config,
                                       const StageData& data,
                                       const std::optional<SavedStage>& checkpoint,
                                       const distributed::Mesh& mesh);

/// Logs what today's configuration changes, and where a learning rate goes on from another point of
/// its schedule than it was on. There must be a checkpoint.
void log_changes(const Resume& resume, const TrainConfig& now);

}  // namespace vmla::trainer
