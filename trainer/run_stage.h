#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"

namespace vmla::trainer {

/// One stage to train: a validated configuration and the run folder it works in.
struct StageRequest {
  TrainConfig config;
  std::filesystem::path run_dir;
  /// auto: go on from the run folder's latest checkpoint if there is one; never; or a checkpoint's
  /// path.
  std::string resume = "auto";
  /// Validate, print the plan (parameters, FLOPs, memory, checkpoint size) and stop.
  bool dry_run = false;
  int64_t profile_steps = 0;  // > 0: trace this many steps into the run folder
  std::function<void(int64_t step)> on_step = nullptr;  // called as each step begins
};

struct StageResult {
  int64_t steps = 0;          // step of the last checkpoint
  double loss = 0.0;          // training loss of the last step
  double seconds = 0.0;       // spent in this process
  bool already_done = false;  // the checkpoint was at the last step when the stage was started
};

/// Trains one stage to its last step, or continues it. Writes the run folder (docs/formats.md) with
/// its report. UserError: settings or files that cannot work; RunError: a fault; StopRequested:
/// stopped on a signal, saved. Every rank of the mesh runs it; the lead alone writes the run
/// folder, but for its checkpoints.
StageResult run_stage(const StageRequest& request, const distributed::Mesh& mesh);

}  // namespace vmla::trainer
