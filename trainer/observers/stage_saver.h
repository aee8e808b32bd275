#pragma once

#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/inputs/media_info.h"
#include "trainer/roles/role_set.h"
#include "trainer/roles/train_checkpoint.h"

#include <filesystem>

namespace vmla::trainer {

/// Saves the stage's checkpoints in the background, each rank its own pieces. A save that failed on
/// another rank is thrown as PeerError, with which a rank ends quietly: the other one reports the
/// cause.
class StageSaver {
 public:
  /// `step`: that of the checkpoint which the run goes on from, so that it is not saved again; 0:
  /// none. Collective.
  StageSaver(const TrainConfig& config,
             const std::filesystem::path& run_dir,
             int64_t step,
             const distributed::Mesh& mesh);

  /// Whether `step` is saved already or being saved.
  bool has_saved(int64_t step) const { return last_saved_ == step; }
  /// Begins a save of `state` and returns. The weights are copied while training goes on: see
  /// before_update(). Waits for a save that is still under way.
  void save(const RoleSet& roles, const TrainState& state, const MediaInfo& media);
  /// To be called before anything writes to weights or moments: returns when a save under way has
  /// copied them.
  void before_update();
  /// Waits until the save under way is complete on all ranks. Collective.
  void finish();
  /// Stops the current save from waiting for ranks that are known to be gone.
  void cancel() { writer_.cancel(); }
  /// Seconds that training has waited for saves since the last call.
  double take_waited_seconds() { return writer_.take_waited_seconds(); }

 private:
  const TrainConfig& config_;
  const distributed::Mesh& mesh_;
  int64_t last_saved_;
  CheckpointWriter writer_;
};

}  // namespace vmla::trainer
