#pragma once

#include "trainer/distributed/collectives/update_report.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/role_set.h"
#include "trainer/roles/train_checkpoint.h"
#include "trainer/telemetry/step_figures.h"
#include "trainer/telemetry/step_timer.h"

#include <filesystem>
#include <functional>

namespace vmla::trainer {

/// What an update works with; all of it outlives the update.
struct UpdateParts {
  const TrainConfig& config;
  const std::filesystem::path& run_dir;  // for messages
  Objective& objective;
  RoleSet& roles;
  StageData& data;
  const distributed::Mesh& mesh;
  StepTimer& timer;
};

/// One optimizer step of one player: losses of this rank's micro-batches and their backward, sums
/// over the ranks, clipping, AdamW, the check that all was finite, and the moving averages that
/// follow the player. Every rank runs the same updates in the same order.
class PlayerUpdate {
 public:
  explicit PlayerUpdate(const UpdateParts& parts);

  /// Updates `player` at state.step and advances state.samples_seen by the batch. `stop_asked`:
  /// this rank was asked to stop; the others learn it with the sums. `before_writing` is called
  /// when the gradients are complete and no weight has been written yet (a save may still be
  /// copying them). RunError where loss or gradient norm is not finite: no weight has changed then.
  PlayerFigures run(RoleState& player,
                    TrainState& state,
                    bool stop_asked,
                    const std::function<void()>& before_writing);

  /// Whether any rank was asked to stop, as of the last update: the same on all ranks.
  bool stop_agreed() const { return stop_agreed_; }
  /// Clips in one forward pass of a rank.
  int64_t micro_batch() const { return micro_batch_; }

 private:
  distributed::UpdateReport accumulate(RoleState& player, const TrainState& state);
  void follow(const RoleState& player, int64_t step);

  UpdateParts parts_;
  int64_t micro_batch_;
  uint64_t settings_hash_;  // of the resolved configuration, which must be the same on all ranks
  bool stop_agreed_ = false;
};

}  // namespace vmla::trainer
