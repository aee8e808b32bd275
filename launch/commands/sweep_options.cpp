#include "launch/commands/sweep.h"

#include "trainer/pipeline/cpu_threads.h"
#include "trainer/sweep/sweep_file.h"
#include "trainer/sweep/sweep_plan.h"

namespace vmla::launch {

const CommandText SweepArgs::kText = {
    "sweep",
    "trains a grid of stages or pipelines over seeds, and compares them",
    R"(Reads a file with
  name: knee                      # run folder: runs/knee
  base: pipeline.yaml             # or one stage's file; relative to this one
  set: {tf.train.steps: 600}      # in every cell
  grid:                           # of one stage's file without the STAGE
    tf.model.kv_lora_rank: [4, 8, 24]
    tf.init.method: [svd_weight, random]
  seeds: [0, 1, 2, 3, 4]          # of every stage: equal data and noise
  metrics: [tf.validation_loss, tf.adherence.colour]
  targets: {curve: tf.validation_loss, values: [0.4]}  # steps until there
  baseline: {method: svd_weight}  # differences from it, seed by seed
  tune: {key: tf.optimizer.lr, values: [1e-3, 3e-3], seeds: [100],
         per: [method], at: {kv_lora_rank: 8}}         # chosen beforehand
docs/formats.md has the rest (cells and exclude, axes that set several keys).

Every cell is checked before the first one starts. Stages of equal configuration and origin are trained once and
shared; every cell under every seed is a run folder of its own, cells/CELL/seed_S. The results are in sweep.html,
sweep.json, table.csv, curves.csv, summary.csv and differences.csv.

With --reuse FOLDER the figures of runs that are done come from another folder's table.csv, curves.csv and tune.csv:
one machine can train seeds 0 to 2 and another the rest. A run is the same where its settings are; the program's
version and what lies behind a path are not compared.

Run again, finished stages are skipped and interrupted ones go on. Ctrl-C saves; status 75. A run that fails is
marked, the rest goes on; the status is then 1.

Examples:
  vmla sweep --config configs/tiny/sweep.yaml --dry-run
  vmla sweep --config configs/tiny/sweep.yaml --jobs 2 --set tf.train.steps=300 --run-dir runs/short)"};

void SweepArgs::define(OptionSet& options) {
  add_config(options,
             *this,
             "the sweep's yaml file",
             "set a key in every cell (of a pipeline: STAGE.key=value); may be repeated")
      .required();
  options.repeated_text("--reuse",
                        reuse,
                        "DIR",
                        "a folder with a sweep's tables; runs that are done there are not trained "
                        "again; may be repeated");
  add_stages(options, *this, "check every cell, list cells, stages and steps, stop");
}

CpuThreads SweepArgs::front_check() const {
  const trainer::SweepFile file = trainer::read_sweep_file(config, set);
  trainer::check_sweep(file, folder_for(file.name));
  // All cores: the stages share them.
  return {.count = trainer::available_cores(), .asked_for = false};
}

std::filesystem::path SweepArgs::folder_for(const std::string& name) const {
  if (run_dir.empty()) return std::filesystem::path("runs") / name;
  // Without a slash at its end, which would count as one more part of the path.
  const std::filesystem::path folder = std::filesystem::path(run_dir).lexically_normal();
  return folder.has_filename() ? folder : folder.parent_path();
}

}  // namespace vmla::launch
