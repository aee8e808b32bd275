#include "launch/commands/train.h"

#include "model/io/error.h"
#include "trainer/config/config_reference.h"
#include "trainer/config/config_yaml.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/pipeline/cpu_threads.h"

namespace vmla::launch {

const CommandText TrainArgs::kText = {
    "train",
    "trains one stage",
    R"(Reads a stage's yaml file (configs/), makes or opens its data, trains, and writes a run folder:
  config.yaml        the complete configuration; train --config of it repeats the run
  metrics.jsonl      one object a step: loss, gradient norm, learning rate, times, tokens/s
  rank.h5            effective rank and spectrum of every latent-attention layer over the steps
  samples/step_N/    videos; checkpoints/step_N/, checkpoints/latest
  report.html        losses, rank curves, videos; opens offline
  summary.json, log.txt

Ctrl-C, SIGTERM and SIGHUP save and stop with status 75; the same command goes on from there, bit for bit.
Changing the model, data, seed or batch of a started run is refused; steps, rates and intervals may change.

Examples:
  vmla train --config configs/tiny/pretrain.yaml
  vmla train --config configs/tiny/pretrain.yaml --set train.steps=2000 --set optimizer.lr=2e-3 --run-dir runs/long
  vmla train --config configs/wan1.3b/teacher_forcing.yaml --dry-run
  vmla train --list-keys)"};

void TrainArgs::define(OptionSet& options) {
  add_config(options, *this, "the stage's yaml file");
  options.text("--run-dir", run_dir, "DIR", "where the run is written (default: runs/STAGE)");
  options
      .text("--resume",
            resume,
            "auto|never|PATH",
            "auto: continue from the run folder's last checkpoint; never: refuse if there is one; "
            "PATH: continue from that checkpoint")
      .shows_default();
  options.flag(
      "--dry-run",
      dry_run,
      "check everything, print the plan (parameters, FLOPs, memory, checkpoint size), stop");
  options
      .integer_from_1("--profile",
                      profile,
                      "trace this many steps: RUN_DIR/trace.json (Chrome trace) and phase times")
      .type("STEPS");
  options.flag_of("--list-keys",
                  list_keys,
                  {"text", "markdown"},
                  "print every configuration key with its default and meaning, stop; "
                  "--list-keys=markdown: as docs/configuration.md");
}

void TrainArgs::check() const {
  if (config.empty() && list_keys.empty()) {
    fail_user("train: --config is required; see vmla train --help");
  }
  if (resume.empty()) {
    fail_user("train: --resume is empty; use auto, never or a checkpoint's path");
  }
}

std::optional<std::string> TrainArgs::answer() const {
  if (list_keys.empty()) return std::nullopt;
  return list_keys == "markdown" ? trainer::config_reference_markdown()
                                 : trainer::config_reference();
}

CpuThreads TrainArgs::front_check() const {
  const distributed::RankEnvironment ranks = distributed::rank_environment();
  const int64_t cores = trainer::available_cores(ranks.local_world_size);
  // Of several ranks, rank 0 says what is wrong with the configuration; the others compare theirs
  // with its own when they meet.
  if (ranks.rank != 0) return {.count = cores, .asked_for = false};
  const trainer::TrainConfig stage = trainer::load_config(config, set);
  return {.count = trainer::cpu_threads(stage, cores), .asked_for = stage.train.threads > 0};
}

}  // namespace vmla::launch
