#include "launch/commands/analyze_memory.h"

#include "model/io/atomic_file.h"
#include "model/io/exit_status.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/planner/memory_plan.h"

#include <algorithm>
#include <cstdio>

namespace vmla::launch {

int run(const AnalyzeMemoryArgs& args) {
  const trainer::TrainConfig config = trainer::load_config(args.config, args.set);
  constexpr double kGigabyte = 1e9;
  // GPUs of a machine, for hybrid sharding with an open shard_size: weights are shared within one.
  constexpr int64_t kUsualNode = 8;
  const auto mesh = trainer::mesh_shape(config, args.gpus, std::min(args.gpus, kUsualNode));
  const trainer::MemoryPlan plan =
      trainer::plan_memory(config,
                           trainer::planned_clip_shape(config),
                           {.mesh = mesh, .gpu_memory = args.gpu_memory * kGigabyte});
  std::fputs(trainer::memory_table(plan).c_str(), stdout);
  if (!args.json.empty()) io::write_file_atomically(args.json, trainer::memory_json(plan));
  return kDone;
}

}  // namespace vmla::launch
