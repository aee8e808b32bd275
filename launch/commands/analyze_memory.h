#pragma once

#include <cstdint>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla analyze memory`.
struct AnalyzeMemoryArgs : CommandArgs, ConfigArgs {
  static const CommandText kText;

  int64_t gpus = 0;       // 0: as few as the section `distributed` allows
  double gpu_memory = 0;  // GB (10^9 bytes) of one GPU; 0: not said
  std::string json;       // empty: print the table only

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const AnalyzeMemoryArgs& args);

}  // namespace vmla::launch
