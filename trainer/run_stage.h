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
  /// auto: go on from the run folder's newest intact checkpoint, if there is one; never: refuse a
  /// run folder that has one; or the path of a checkpoint.
  std::string resume = "auto";
  /// Check everything that needs no data, print the plan (parameters, FLOPs, memory, checkpoint
  /// size) and return, without writing anything.
  bool dry_run = false;
  /// Above 0: trace this many steps into the run folder.
  int64_t profile_steps = 0;
  /// Called with the number of each step that begins.
  std::function<void(int64_t step)> on_step = nullptr;
};

struct StageResult {
  /// Steps that the stage has made, in this process or before.
  int64_t steps = 0;
  /// The generator's training loss at its last update.
  double loss = 0.0;
  /// Spent in steps by this process.
  double seconds = 0.0;
  /// The stage was at its last step already when it was started.
  bool already_done = false;
};

/// Trains one stage to its last step, or goes on with it, and writes the run folder
/// (docs/formats.md "Run folder"). UserError: settings or files that cannot work; RunError: a
/// fault; StopRequested: stopped by a signal, state saved. Every rank of the mesh runs it. The lead
/// alone writes the run folder, except for checkpoints, of which every rank writes its part.
StageResult run_stage(const StageRequest& request, const distributed::Mesh& mesh);

}  // namespace vmla::trainer
