#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla sweep`.
struct SweepArgs : CommandArgs, ConfigArgs {
  static const CommandText kText;

  std::string run_dir;         // empty: runs/NAME
  int64_t jobs = 0;            // stages side by side; 0: what the file says
  std::string nproc_per_node;  // empty: every stage in one process
  bool dry_run = false;

  void define(OptionSet& options);
  CpuThreads front_check() const;
  /// The folder, of a sweep that is called `name`.
  std::filesystem::path folder_for(const std::string& name) const;
};

/// In vmla-core.
int run(const SweepArgs& args);

}  // namespace vmla::launch
