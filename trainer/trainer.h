#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/distributed/collectives/shared_stop.h"
#include "trainer/evaluation/video_sampler.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/objectives/objective.h"
#include "trainer/observers/rank_observer.h"
#include "trainer/observers/stage_saver.h"
#include "trainer/observers/step_log.h"
#include "trainer/player_update.h"
#include "trainer/roles/role_set.h"
#include "trainer/roles/train_checkpoint.h"
#include "trainer/telemetry/profiler.h"
#include "trainer/telemetry/step_timer.h"

#include <filesystem>
#include <functional>
#include <mutex>
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
  ///
  /// A signal ends the run after its step. Where that takes more than a second, a process that
  /// trains alone saves the state before the step meanwhile, and ends; several ranks drop the step
  /// between two micro-batches. What was still to be measured of the last step (validation,
  /// samples, ranks) is noted in the checkpoint, and the next start makes up for it.
  void run(Profiler& profiler, const std::function<void(int64_t step)>& on_step = nullptr);

  const TrainState& state() const { return state_; }
  const StepFigures& last() const { return last_; }
  const analysis::RankLog& ranks() const { return ranks_.log(); }
  /// Of the steps of this process: their sum and their median, without what observers took.
  double seconds_trained() const { return seconds_trained_; }
  /// Spent in measuring ranks by this process, beside the steps.
  double rank_seconds() const { return rank_seconds_; }
  double median_step_seconds() const;
  /// The most that tensors held in a step: planned, and measured over the steps so far (0: none
  /// yet).
  int64_t predicted_bytes() const { return predicted_bytes_; }
  int64_t tensor_peak_bytes() const { return tensor_peak_bytes_; }

 private:
  void run_steps(Profiler& profiler, const std::function<void(int64_t step)>& on_step);
  void run_step(Profiler& profiler);
  void before_micro_batch();
  void look_for_stop();
  void stop_if_asked();
  std::string save_at_stop();
  void measure_memory();
  void record();
  void observe();
  void make_up_for_observers();
  MetricValues times_and_traffic();
  void measure_ranks();
  void run_validation();
  void write_samples();
  void save();

  /// Calls `work` while weights, state and logs stay as they are, so that another thread may save
  /// them.
  template <class Work>
  void while_still(const Work& work);

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
  double rank_seconds_ = 0;
  ClipWork work_;  // of a clip of the last step, whose shape was work_of_
  std::optional<ClipShape> work_of_;
  bool steps_are_long_ = false;  // the last one took some rank more than a second
  /// Of the step that is made or observed, not written to the log yet.
  std::optional<MetricValues> unrecorded_;
  bool unobserved_ = false;                  // observers of the last step are not through
  distributed::SharedStop* stop_ = nullptr;  // while run() runs
  /// Held by `changing_` while weights, state or logs change. Whoever has it may save them.
  std::mutex still_mutex_;
  std::unique_lock<std::mutex> changing_{still_mutex_, std::defer_lock};
  std::vector<double> step_seconds_;
};

}  // namespace vmla::trainer
