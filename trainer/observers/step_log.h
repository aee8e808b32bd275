#pragma once

#include "analysis/rank/rank_log.h"
#include "analysis/runs/health.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"
#include "trainer/telemetry/metrics.h"
#include "trainer/telemetry/step_figures.h"

#include <filesystem>

namespace vmla::trainer {

/// The work of one clip of a step, from which speeds are computed.
struct ClipWork {
  /// Of the clip's latents, at the generator's patch size.
  double tokens = 0;
  /// Model FLOPs of the clip's share of each phase of each player's update
  /// (docs/algorithms.md 15.2).
  struct Part {
    std::string phase, player;
    double flops = 0;
  };
  std::vector<Part> parts = {};
};

/// The lead's record of every step: metrics.jsonl, TensorBoard, lines on the terminal, and the
/// alarms of the health monitor (analysis/runs/health.h).
class StepLog {
 public:
  /// On resume at `step` > 0 cuts metrics.jsonl back to that step and goes on from there; `figures`
  /// then gets the last losses, which the summary needs of a run that has nothing left to train.
  /// `ranks`: how many train together.
  StepLog(const TrainConfig& config,
          const std::filesystem::path& run_dir,
          int64_t step,
          int64_t ranks,
          StepFigures& figures);

  /// Records `step`, whose clips took `work` each. `observed`: further figures of the step (waits,
  /// communication), written in this order. `validated`: the step ended with a
  /// validation, whose figures are new.
  void record(int64_t step,
              const StepFigures& figures,
              const ClipWork& work,
              const MetricValues& observed,
              bool validated);

  /// Whether the log that this run goes on with has the validation of `step`.
  bool has_validated(int64_t step) const { return validated_step_ == step; }
  /// The validation of a step whose line is written already, as a line of its own.
  void record_validation(int64_t step, const StepFigures& figures);

  /// The last measurement's ranks and spectra, for TensorBoard; rank.h5 holds them in full
  /// (rank_observer.h).
  void record_ranks(const analysis::RankLog& ranks);

  /// Videos that were sampled after `step` steps, for TensorBoard.
  void record_samples(int64_t step,
                      const std::vector<std::filesystem::path>& files,
                      const MediaInfo& media);

 private:
  void print(int64_t step, const StepFigures& figures, bool validated) const;

  const TrainConfig& config_;
  int64_t ranks_;
  MetricsLog metrics_;
  analysis::HealthMonitor health_;
  int64_t validated_step_ = -1;  // the newest, of an earlier start
};

}  // namespace vmla::trainer
