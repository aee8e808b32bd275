#include "launch/commands/analyze_memory.h"

#include "launch/guarded.h"
#include "model/io/atomic_file.h"
#include "trainer/config_yaml.h"
#include "trainer/memory_plan.h"
#include "trainer/stage_data.h"

#include <cstdio>

namespace vmla::launch {

int cmd_analyze_memory(const AnalyzeMemoryArgs& args) {
  const trainer::TrainConfig config = trainer::load_config(args.config, args.set);
  constexpr double kGigabyte = 1e9;
  const trainer::MemoryPlan plan =
      trainer::plan_memory(config,
                           trainer::planned_clip_shape(config),
                           {.gpus = args.gpus, .gpu_memory = args.gpu_memory * kGigabyte});
  std::fputs(trainer::memory_table(plan).c_str(), stdout);
  if (!args.json.empty()) io::write_file_atomically(args.json, trainer::memory_json(plan));
  return kDone;
}

}  // namespace vmla::launch
