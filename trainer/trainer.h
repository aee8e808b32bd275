#pragma once

#include "analysis/rank/rank_log.h"
#include "analysis/runs/health.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/update_report.h"
#include "trainer/evaluation/video_sampler.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/role_state.h"
#include "trainer/roles/train_checkpoint.h"
#include "trainer/stop_signal.h"
#include "trainer/telemetry/metrics.h"
#include "trainer/telemetry/profiler.h"
#include "trainer/telemetry/step_timer.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

namespace vmla::trainer {

/// One player's last update.
struct PlayerFigures {
  double loss = 0, grad_norm = 0, lr = 0;
  std::map<std::string, double> metrics;  // of the objective
  bool updated = false;                   // in the last step
};

/// The last step's figures, for the log and the summary.
struct StepFigures {
  std::map<std::string, PlayerFigures> players;  // trained roles
  double seconds = 0;
  int64_t tensor_peak_bytes = 0;
  double validation_loss = 0;
  std::vector<double> validation_by_time;
  double loss() const {
    const auto generator = players.find("generator");
    return generator == players.end() ? 0 : generator->second.loss;
  }
};

/// The one training loop, the same for all objectives and numbers of ranks: each due player, each
/// micro-batch, loss → backward; then finite check, clip, optimizer step, EMA; then what only looks
/// on: metrics, ranks, validation, samples, checkpoints.
class Trainer {
 public:
  Trainer(const TrainConfig& config,
          const std::filesystem::path& run_dir,
          Objective& objective,
          RoleSet& roles,
          StageData& data,
          TrainState state,
          int64_t predicted_bytes,
          const distributed::Mesh& mesh);

  /// Trains to train.steps. StopRequested when a signal came to any rank (saved before); RunError
  /// on a non-finite loss, before any optimizer has written.
  /// `on_step`, if any, is told each step that begins.
  void run(const StopSignal& stop,
           Profiler& profiler,
           const std::function<void(int64_t step)>& on_step = nullptr);

  const TrainState& state() const { return state_; }
  const StepFigures& last() const { return last_; }
  const analysis::RankLog& ranks() const { return ranks_; }
  double seconds_trained() const { return seconds_trained_; }
  double median_step_seconds() const;
  /// The most that tensors held in a step: planned, and of the steps so far (0: none yet).
  int64_t predicted_bytes() const { return predicted_bytes_; }
  int64_t tensor_peak_bytes() const { return tensor_peak_bytes_; }
  /// The role whose weights stand for the stage: a moving average of the generator where there is
  /// one.
  const RoleState& best() const;

 private:
  void train_player(RoleState& player, bool stop_asked);
  void measure_memory();
  UpdateReport accumulate_losses(RoleState& player);
  void run_step(const StopSignal& stop, Profiler& profiler);
  void stop_if_asked(const StopSignal& stop);
  void add_communication(MetricValues& values) const;
  MetricValues player_values() const;
  void observe();
  void measure_ranks();
  void run_validation();
  void write_samples();
  void save();
  void log_step(MetricValues values);

  const TrainConfig& config_;
  std::filesystem::path run_dir_;
  const distributed::Mesh& mesh_;
  int64_t micro_batch_;
  uint64_t settings_hash_;  // of the configuration, which all ranks must have
  bool stop_agreed_ = false;
  Objective& objective_;
  RoleSet& roles_;
  StageData& data_;
  TrainState state_;
  StepFigures last_;
  StepTimer timer_;
  std::optional<MetricsLog> metrics_;  // of the lead
  analysis::HealthMonitor health_;
  analysis::RankTracker tracker_;
  analysis::RankLog ranks_;
  double clip_flops_;  // model FLOPs of one clip's share of a step
  int64_t last_saved_ = -1;
  CheckpointWriter saver_;
  int64_t predicted_bytes_;
  int64_t tensor_peak_bytes_ = 0;
  double seconds_trained_ = 0;
  std::vector<double> step_seconds_;
};

}  // namespace vmla::trainer
