#include "launch/commands/analyze_memory.h"

#include "model/io/atomic_file.h"
#include "model/io/exit_status.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/config/stage_roles.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/planner/fit_proposal.h"
#include "trainer/planner/memory_plan.h"

#include <algorithm>
#include <cstdio>

namespace vmla::launch {

int run(const AnalyzeMemoryArgs& args) {
  const trainer::TrainConfig config = trainer::load_config(args.config, args.set);
  constexpr double kGigabyte = 1e9;
  // GPUs of a machine, for hybrid sharding with an open shard_size: weights are shared within one.
  constexpr int64_t kUsualNode = 8;
  const int64_t gpus = args.gpus > 0 ? args.gpus : trainer::fewest_ranks(config.distributed);
  const auto mesh = trainer::mesh_shape(config, gpus, std::min(gpus, kUsualNode));
  const trainer::PlannedMedia media = trainer::planned_media(config);
  const auto roles = trainer::planned_roles(config, trainer::stage_roles(config));
  const trainer::MemoryRequest request{.mesh = mesh, .gpu_memory = args.gpu_memory * kGigabyte};
  const trainer::MemoryPlan plan = trainer::plan_memory(config, roles, media, request);
  std::fputs(trainer::memory_table(plan).c_str(), stdout);
  std::fputs(trainer::fit_lines(config, roles, media, request).c_str(), stdout);
  if (!args.json.empty()) io::write_file_atomically(args.json, trainer::memory_json(plan));
  return kDone;
}

}  // namespace vmla::launch
