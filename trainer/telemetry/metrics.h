#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "trainer/telemetry/tensorboard.h"

namespace vmla::trainer {

/// Named figures of one step, in the order in which they are written.
using MetricValues = std::vector<std::pair<std::string, double>>;

/// The run folder's `metrics.jsonl` (one JSON object a step) and its TensorBoard scalars,
/// `events.out.tfevents.*`. For one process: the job's lead.
class MetricsLog {
 public:
  /// Opens the log of `run_dir` and keeps what an earlier process wrote up to `last_step` (the
  /// checkpoint's step on resume; -1: nothing): later and torn lines go in one atomic rewrite.
  /// RunError on a fault of the disk.
  MetricsLog(const std::filesystem::path& run_dir, std::string stage, int64_t last_step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  /// Writes {"step": step, "stage": stage, values...}, which has reached the operating system when
  /// it returns. A value that is not finite becomes null there and is left out of TensorBoard.
  /// Steps ascend. RunError.
  void append(int64_t step, const MetricValues& values);

  /// TensorBoard's file, for what metrics.jsonl does not hold. The caller flushes it.
  TensorboardWriter& tensorboard() { return tensorboard_; }

 private:
  std::filesystem::path path_;
  std::string stage_;
  int fd_ = -1;
  TensorboardWriter tensorboard_;
};

/// The newest value of every figure in a run's metrics.jsonl; empty when there is none.
std::map<std::string, double> newest_metrics(const std::filesystem::path& run_dir);

/// The lines of `text` (a metrics.jsonl) whose step is at most `last_step`, each with its newline.
/// A line that is no object with a whole `step` is dropped and counted in `dropped`.
std::string cut_back_metrics(const std::string& text, int64_t last_step, int64_t& dropped);

}  // namespace vmla::trainer
