#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/evaluation/video_sampler.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/objectives/objective.h"
#include "trainer/observers/rank_observer.h"
#include "trainer/observers/stage_saver.h"
#include "trainer/observers/step_log.h"
#include "trainer/player_update.h"
#include "trainer/roles/role_set.h"
#include "trainer/roles/train_checkpoint.h"
#include "trainer/stop_signal.h"
#include "trainer/telemetry/profiler.h"
#include "trainer/telemetry/step_timer.h"

#include <filesystem>
#include <functional>
#include <optional>

namespace vmla::trainer {

/// What a stage has built before its first step. All of it outlives the trainer.
struct TrainerParts {
  const TrainConfig& config;
  const std::filesystem::path& run_dir;
  Objective& objective;
  RoleSet& roles;
  StageData& data;
  const VideoSampler& sampler;
  const distributed::Mesh& mesh;
};

/// The one training loop, the same for all objectives and numbers of ranks. A step updates each
/// player whose turn it is (player_update.h). Then come the observers, which leave the weights as
/// they are: metrics, ranks, validation, samples, checkpoints (observers/).
class Trainer {
 public:
  /// `state`: where to go on, as restored from a checkpoint, or zeros. `predicted_bytes`: the
  /// planned peak of a step's tensors, to be compared with the measured one. Collective.
  Trainer(const TrainerParts& parts, const TrainState& state, int64_t predicted_bytes);

  /// Trains to train.steps. `on_step`, if any, is called with the number of each step that begins.
  /// StopRequested where a signal came to any rank, after the state was saved; RunError where a
  /// loss is not finite, before any optimizer has written; PeerError where another rank failed.
  /// Collective.
  void run(const StopSignal& stop,
           Profiler& profiler,
           const std::function<void(int64_t step)>& on_step = nullptr);

  const TrainState& state() const { return state_; }
  const StepFigures& last() const { return last_; }
  const analysis::RankLog& ranks() const { return ranks_.log(); }
  /// Of the steps of this process: their sum and their median, without what observers took.
  double seconds_trained() const { return seconds_trained_; }
  double median_step_seconds() const;
  /// The most that tensors held in a step: planned, and measured over the steps so far (0: none
  /// yet).
  int64_t predicted_bytes() const { return predicted_bytes_; }
  int64_t tensor_peak_bytes() const { return tensor_peak_bytes_; }

 private:
  void run_step(const StopSignal& stop, Profiler& profiler);
  void stop_if_asked(const StopSignal& stop);
  void measure_memory();
  void observe();
  MetricValues times_and_traffic();
  void measure_ranks();
  void run_validation();
  void write_samples();
  void save();

  TrainerParts parts_;
  TrainState state_;
  StepFigures last_;
  StepTimer timer_;
  PlayerUpdate update_;
  RankObserver ranks_;
  StageSaver saver_;
  std::optional<StepLog> log_;  // of the lead
  int64_t predicted_bytes_;
  int64_t tensor_peak_bytes_ = 0;
  double seconds_trained_ = 0;
  std::vector<double> step_seconds_;
};

}  // namespace vmla::trainer
