#pragma once

#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla step`.
struct StepArgs : CommandArgs, ConfigArgs {
  static const CommandText kText;

  std::string inputs, output;
  std::string player = "generator";

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const StepArgs& args);

}  // namespace vmla::launch
