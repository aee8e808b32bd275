#include "launch/commands/train.h"

#include "analysis/report/report.h"
#include "launch/kept_memory.h"
#include "launch/ranked_job.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/pipeline/cpu_threads.h"
#include "trainer/run_stage.h"

#include <ATen/Parallel.h>

namespace vmla::launch {
namespace {

void train_stage(const TrainArgs& args,
                 const trainer::TrainConfig& config,
                 const distributed::Mesh& mesh,
                 const std::function<void(int64_t step)>& on_step) {
  const std::filesystem::path run_dir =
      args.run_dir.empty() ? "runs/" + config.stage : args.run_dir;
  trainer::StageResult result;
  trainer::with_config_origins(args.config, args.set, [&] {
    result = trainer::run_stage({.config = config,
                                 .run_dir = run_dir,
                                 .resume = args.resume,
                                 .dry_run = args.dry_run,
                                 .profile_steps = args.profile,
                                 .on_step = on_step},
                                mesh);
  });
  if (args.dry_run || !mesh.is_lead()) return;
  analysis::write_run_report(run_dir);
  const std::string page = (run_dir / "report.html").string();
  if (result.already_done) {
    log::info("was already done: {}", page);
  } else {
    log::info("done: {}", page);
  }
}

}  // namespace

int run(const TrainArgs& args) {
  const distributed::RankEnvironment environment = distributed::rank_environment();
  keep_freed_memory();
  const auto use_threads = [&](const trainer::TrainConfig& config) {
    const int64_t cores = trainer::available_cores(environment.local_world_size);
    at::set_num_threads(static_cast<int>(trainer::cpu_threads(config, cores)));
  };
  if (environment.world_size == 1) {
    const trainer::TrainConfig config = trainer::load_config(args.config, args.set);
    use_threads(config);
    if (!args.dry_run) {
      trainer::with_config_origins(
          args.config, args.set, [&] { trainer::mesh_shape(config, 1, 1); });
    }
    train_stage(args, config, distributed::Mesh(), nullptr);
    return kDone;
  }
  trainer::TrainConfig config;
  const auto shape = [&] {
    distributed::MeshShape of_stage;
    trainer::with_config_origins(args.config, args.set, [&] {
      of_stage = trainer::mesh_shape(config, environment.world_size, environment.local_world_size);
    });
    return of_stage;
  };
  const auto plan = [&] {
    config = trainer::load_config(args.config, args.set);
    return RankPlan{.asked = trainer::resolved_yaml(config),
                    .shape = shape,
                    .timeout_seconds = config.distributed.timeout_seconds,
                    .device = config.train.device,
                    .staged_on_host = config.distributed.backend == "host_staged"};
  };
  return run_ranks(environment, plan, [&](const RankedJob& job) {
    use_threads(config);
    train_stage(args, config, job.mesh, job.on_step);
  });
}

}  // namespace vmla::launch
