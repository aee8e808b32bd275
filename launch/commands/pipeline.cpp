#include "launch/commands/pipeline.h"

#include <filesystem>

#include "analysis/report/report.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/pipeline/pipeline.h"

namespace vmla::launch {

int run(const PipelineArgs& args) {
  const trainer::PipelineConfig pipeline =
      trainer::load_pipeline(args.config, args.set, args.run_dir);
  const trainer::PipelineOptions options = {
      .program = std::filesystem::read_symlink("/proc/self/exe"),
      .jobs = args.jobs,
      .nproc_per_node = args.nproc_per_node,
      .dry_run = args.dry_run};
  const int status = trainer::run_pipeline(pipeline, options);
  if (status != kDone || args.dry_run) return status;
  for (const auto& stage : pipeline.stages) {
    // A stage that was killed behind its last step, before it wrote its report, counts as finished.
    if (!std::filesystem::exists(stage.run_dir / "report.html"))
      analysis::write_run_report(stage.run_dir);
  }
  analysis::write_pipeline_report(pipeline.run_dir);
  log::info("done: {}", (pipeline.run_dir / "report.html").string());
  return kDone;
}

}  // namespace vmla::launch
