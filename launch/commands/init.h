#pragma once

#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla init`.
struct InitArgs : CommandArgs, WeightsArgs, ConfigArgs {
  static const CommandText kText;

  std::string data;  // for methods that calibrate
  std::string out;

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const InitArgs& args);

}  // namespace vmla::launch
