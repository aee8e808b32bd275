#pragma once

#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/inputs/media_info.h"
#include "trainer/roles/role_set.h"
#include "trainer/roles/train_checkpoint.h"

#include <filesystem>

namespace vmla::trainer {

/// Saves the stage's checkpoints in the background, together with the other ranks. A save that
/// failed on another rank is thrown as PeerError: that rank says why.
class StageSaver {
 public:
  /// `step`: that of the checkpoint the run goes on from; 0: none. Collective.
  StageSaver(const TrainConfig& config,
             const std::filesystem::path& run_dir,
             int64_t step,
             const distributed::Mesh& mesh);

  /// Begins a save of `state`, unless this step is saved already.
  void save(const RoleSet& roles, const TrainState& state, const MediaInfo& media);
  /// Returns when the state that a save under way reads may be written.
  void before_update();
  /// Waits for the save under way.
  void finish();
  /// Gives up waiting for ranks that are known to be gone.
  void cancel() { writer_.cancel(); }
  /// Seconds that training waited for saves since this was asked last.
  double take_waited_seconds() { return writer_.take_waited_seconds(); }

 private:
  const TrainConfig& config_;
  const distributed::Mesh& mesh_;
  int64_t last_saved_;
  CheckpointWriter writer_;
};

}  // namespace vmla::trainer
