#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla sweep`.
struct SweepArgs : CommandArgs, ConfigArgs, StagesArgs {
  static const CommandText kText;

  std::vector<std::string> reuse;  // folders with tables

  void define(OptionSet& options);
  CpuThreads front_check() const;
  /// The folder, of a sweep that is called `name`.
  std::filesystem::path folder_for(const std::string& name) const;
};

/// In vmla-core.
int run(const SweepArgs& args);

}  // namespace vmla::launch
