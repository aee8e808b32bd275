#pragma once

#include "analysis/runs/health.h"
#include "trainer/config/train_config.h"
#include "trainer/telemetry/metrics.h"
#include "trainer/telemetry/step_figures.h"

#include <filesystem>

namespace vmla::trainer {

/// What one clip of a step amounts to, for speeds.
struct ClipWork {
  double tokens = 0;
  double flops = 0;  // model FLOPs of its share of a step (docs/algorithms.md 15.2)
};

/// The lead's account of every step: metrics.jsonl, TensorBoard, the terminal's lines, and the
/// alarms of a run that is not healthy.
class StepLog {
 public:
  /// On resume at `step` > 0 cuts metrics.jsonl back to it and goes on from what it says; `figures`
  /// then gets the last losses, for a run that has nothing left to train.
  StepLog(const TrainConfig& config,
          const std::filesystem::path& run_dir,
          int64_t step,
          const ClipWork& clip,
          StepFigures& figures);

  /// Records `step`. `observed`: further figures of the step, in the order in which they are
  /// written (times by phase, communication). `validated`: the step ended with a validation.
  void record(int64_t step,
              const StepFigures& figures,
              const MetricValues& observed,
              bool validated);

 private:
  void print(int64_t step, const StepFigures& figures, bool validated) const;

  const TrainConfig& config_;
  ClipWork clip_;
  MetricsLog metrics_;
  analysis::HealthMonitor health_;
};

}  // namespace vmla::trainer
