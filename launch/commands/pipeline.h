#pragma once

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla pipeline`.
struct PipelineArgs : CommandArgs, ConfigArgs, StagesArgs {
  static const CommandText kText;

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const PipelineArgs& args);

}  // namespace vmla::launch
