#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "trainer/pipeline/pipeline_config.h"

namespace vmla::trainer {

struct PipelineOptions {
  /// vmla-core, started as `PROGRAM train --config ... --run-dir ...`.
  std::filesystem::path program;
  /// Stages side by side; 0: as many as the file says.
  int64_t jobs = 0;
  /// Ranks of every stage, as vmla-launch takes them (a number, cpu or gpu); empty: one process.
  std::string nproc_per_node = {};
  /// Each stage prints its plan, one after another, and nothing is written.
  bool dry_run = false;
  /// A stage that fails ends only those that start from it; without it, all.
  bool keep_going = false;
  /// A stage that another program is training is waited for: sweeps share stages. Without it, for a
  /// minute, in which one whose parent was killed saves and ends.
  bool wait_for_others = false;
  /// Told of every stage that has ended: its name, and why it failed or was not started, in one
  /// line; "" where it is finished, now or before.
  std::function<void(const std::string& stage, const std::string& failure)> on_end = {};
};

/// Runs every stage that is not finished, each as a process of its own, as many side by side as
/// `jobs` and their init_from allow. Finished stages are skipped, interrupted ones resume. SIGINT,
/// SIGTERM, SIGHUP and SIGUSR1 are passed on to the stages, which save and stop.
///
/// Returns the exit status: 0 when all are finished, else that of the first stage that failed (2,
/// 1) or stopped (75). That stage has said on stderr what was wrong, so nothing is added. At the
/// end writes summary.json: every stage's own, by name.
int run_pipeline(const PipelineConfig& pipeline, const PipelineOptions& options);

}  // namespace vmla::trainer
