#include "launch/commands/analyze_memory.h"

#include "trainer/config/config_yaml.h"

namespace vmla::launch {

const CommandText AnalyzeMemoryArgs::kText = {
    "analyze memory",
    "what a stage needs, before it starts",
    R"(Per role: parameters, weights, gradients and optimizer state; the peak of a step by phase (rollout, scores,
forward, backward), of tensors; checkpoint, cache of a video being sampled beside a dense model's, FLOPs by phase.
The step is run on tensors that have sizes and no data, so neither the dataset nor the weights have to be there:
sizes of a score are read from its weights where those exist, else from its preset, else a dense twin of the
generator stands in, and the table says which. `vmla train --dry-run` prints the same table.

Examples:
  vmla analyze memory --config configs/wan1.3b/teacher_forcing.yaml --gpus 8 --gpu-memory 80
  vmla analyze memory --config configs/wan1.3b/dmd.yaml --gpus 64 --set distributed.sharding=hybrid
  vmla analyze memory --config configs/tiny/dmd.yaml --set train.recompute=block --json memory.json)"};

void AnalyzeMemoryArgs::define(OptionSet& options) {
  add_config(options, *this, "the stage's yaml file").required();
  options
      .integer_from_1("--gpus", gpus, "ranks that share the stage as the section distributed says")
      .shows_default();
  options.number_above_0(
      "--gpu-memory",
      gpu_memory,
      "memory of one in GB (10^9 bytes): what auto chooses fits in it, and the largest "
      "micro-batch "
      "is looked for");
  options.text("--json", json, "FILE", "also writes the plan as JSON, in bytes");
}

CpuThreads AnalyzeMemoryArgs::front_check() const {
  trainer::load_config(config, set);
  return default_threads();
}

}  // namespace vmla::launch
