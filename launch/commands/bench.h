#pragma once

#include <cstdint>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla bench`.
struct BenchArgs : CommandArgs, ConfigArgs {
  static const CommandText kText;

  std::string name;
  int64_t repeats = 5, warm_up = 2;
  int64_t chunks = 12;          // of stream
  std::string folder = "runs";  // of checkpoint: a folder of its own is made in it
  double disk_rate = 0;         // of checkpoint, MB/s; 0: as the disk is
  std::string json;             // empty: print only

  void define(OptionSet& options);
  CpuThreads front_check() const;

  /// `--config`, or the benchmark's own.
  std::string config_file() const;
  /// Whether it runs on the CPU wherever the stage would.
  bool on_cpu_alone() const;
};

/// In vmla-core.
int run(const BenchArgs& args);

}  // namespace vmla::launch
