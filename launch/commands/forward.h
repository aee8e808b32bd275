#pragma once

#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla forward`.
struct ForwardArgs : CommandArgs, WeightsArgs, ConfigArgs, ComputeArgs {
  static const CommandText kText;

  std::string inputs, output;
  std::string mode;

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const ForwardArgs& args);

}  // namespace vmla::launch
