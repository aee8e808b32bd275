#include "launch/commands/sweep.h"

#include "launch/sweep_job.h"

namespace vmla::launch {

int run(const SweepArgs& args) {
  const trainer::SweepFile file = trainer::read_sweep_file(args.config, args.set);
  return run_sweep(file,
                   {.run_dir = args.folder_for(file.name),
                    .jobs = args.jobs,
                    .nproc_per_node = args.nproc_per_node,
                    .reuse = args.reuse,
                    .dry_run = args.dry_run});
}

}  // namespace vmla::launch
