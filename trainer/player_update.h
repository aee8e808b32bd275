#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/update_report.h"
#include "trainer/inputs/batch_source.h"
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
  BatchSource& data;
  const distributed::Mesh& mesh;
  StepTimer& timer;
};

/// One optimizer step of one player: losses of this rank's micro-batches and their backward, sums
/// over the ranks, clipping, AdamW, the check that all was finite, and the moving averages that
/// follow the player. Every rank runs the same updates in the same order.
class PlayerUpdate {
 public:
  explicit PlayerUpdate(const UpdateParts& parts);

  struct Watch {
    /// This rank was asked to stop; the others learn it with the sums.
    bool stop_asked = false;
    /// Between two micro-batches; what it throws ends the update, which has changed nothing then.
    std::function<void()> before_micro_batch;
    /// When the gradients are complete, and neither a weight nor `state` has been written yet (a
    /// save may still be copying them).
    std::function<void()> before_writing;
  };

  /// Updates `player` at state.step and advances state.samples_seen by the batch. RunError where
  /// loss or gradient norm is not finite: no weight has changed then.
  PlayerFigures run(RoleState& player, TrainState& state, const Watch& watch);

  /// Whether any rank was asked to stop, as of the last update: the same on all ranks.
  bool stop_agreed() const { return stop_agreed_; }
  /// Clips in one forward pass of a rank.
  int64_t micro_batch() const { return micro_batch_; }

 private:
  distributed::UpdateReport accumulate(RoleState& player,
                                       const TrainState& state,
                                       const std::function<void()>& before_micro_batch);

  UpdateParts parts_;
  int64_t micro_batch_;
  uint64_t settings_hash_;  // of the resolved configuration, which must be the same on all ranks
  bool stop_agreed_ = false;
};

}  // namespace vmla::trainer
