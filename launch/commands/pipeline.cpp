#include "launch/commands/pipeline.h"

#include <filesystem>

#include "launch/guarded.h"
#include "model/io/log.h"
#include "trainer/pipeline.h"

namespace vmla::launch {

int cmd_pipeline(const PipelineArgs& args) {
  const trainer::PipelineConfig pipeline =
      trainer::load_pipeline(args.config, args.set, args.run_dir);
  const trainer::PipelineOptions options = {
      .program = std::filesystem::read_symlink("/proc/self/exe"),
      .jobs = args.jobs,
      .dry_run = args.dry_run};
  const int status = trainer::run_pipeline(pipeline, options);
  if (status != kDone || args.dry_run) return status;
  log::info("done: " + (pipeline.run_dir / "summary.json").string());
  return kDone;
}

}  // namespace vmla::launch
