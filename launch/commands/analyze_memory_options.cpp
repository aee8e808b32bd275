#include "launch/commands/analyze_memory.h"

#include "trainer/config/config_yaml.h"

namespace vmla::launch {

const CommandText AnalyzeMemoryArgs::kText = {
    "analyze memory",
    "the memory that a stage will need, before it starts",
    R"(Prints, for each role, the bytes of parameters, weights, gradients and optimizer state; then the largest total of
tensors in each phase of a step (rollout, scores, forward, backward), the size of a checkpoint and of the cache of one
sampled video (beside a dense model's), and FLOPs by phase.

The step is run on tensors that have sizes and no data, so neither the dataset nor the weights have to be there. The
sizes of a score network are read from its weights where those exist, else taken from its preset, else a dense model
of the generator's size is assumed; the table says which. `vmla train --dry-run` prints the same table.

Examples:
  vmla analyze memory --config configs/wan1.3b/teacher_forcing.yaml --gpus 8 --gpu-memory 80
  vmla analyze memory --config configs/wan1.3b/dmd.yaml --gpus 64 --set distributed.sharding=hybrid
  vmla analyze memory --config configs/tiny/dmd.yaml --set train.recompute=block --json memory.json)"};

void AnalyzeMemoryArgs::define(OptionSet& options) {
  add_config(options, *this, "the stage's yaml file").required();
  options.integer_from_1("--gpus",
                         gpus,
                         "ranks that share the stage, as the section `distributed` says (default: "
                         "as few as it allows)");
  options.number_above_0(
      "--gpu-memory",
      gpu_memory,
      "memory of one GPU in GB (10^9 bytes): keys that are `auto` are then chosen so that the "
      "stage fits, and the largest micro-batch that fits is found");
  options.text("--json", json, "FILE", "also write the plan as JSON, in bytes");
}

CpuThreads AnalyzeMemoryArgs::front_check() const {
  trainer::load_config(config, set);
  return default_threads();
}

}  // namespace vmla::launch
