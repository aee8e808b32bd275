#include "launch/commands/train.h"

#include "analysis/report.h"
#include "launch/guarded.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/config_yaml.h"
#include "trainer/cpu_threads.h"
#include "trainer/run_stage.h"

#include <ATen/Parallel.h>
#include <malloc.h>

namespace vmla::launch {
namespace {

/// Every step takes the blocks that the step before gave back. Left to itself the allocator returns
/// them to the system in between, and each is faulted in page by page again.
void keep_freed_blocks() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most it takes
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

}  // namespace

int cmd_train(const TrainArgs& args) {
  const trainer::TrainConfig config = trainer::load_config(args.config, args.set);
  keep_freed_blocks();
  at::set_num_threads(static_cast<int>(trainer::cpu_threads(config, trainer::available_cores())));
  const std::filesystem::path run_dir =
      args.run_dir.empty() ? "runs/" + config.stage : args.run_dir;
  trainer::StageResult result;
  trainer::with_config_origins(args.config, args.set, [&] {
    result = trainer::run_stage({.config = config,
                                 .run_dir = run_dir,
                                 .resume = args.resume,
                                 .dry_run = args.dry_run,
                                 .profile_steps = args.profile},
                                distributed::Mesh());
  });
  if (args.dry_run) return kDone;
  analysis::write_run_report(run_dir);
  log::info(cat(result.already_done ? "was already done: " : "done: ",
                (run_dir / "report.html").string()));
  return kDone;
}

}  // namespace vmla::launch
