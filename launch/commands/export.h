#pragma once

#include <cstdint>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla export`.
struct ExportArgs : CommandArgs, CheckpointArgs, ConfigArgs {
  static const CommandText kText;

  std::string format;
  std::string out;
  std::string dtype = "bf16";
  int64_t shard_bytes = 5'000'000'000;

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const ExportArgs& args);

}  // namespace vmla::launch
