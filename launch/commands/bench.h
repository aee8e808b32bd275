#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla bench`.
struct BenchArgs : CommandArgs, ConfigArgs {
  static const CommandText kText;

  std::string name;
  int64_t repeats = 5, warm_up = 2;
  std::optional<int64_t> chunks;      // of stream
  std::optional<std::string> folder;  // of checkpoint: a folder of its own is made in it
  std::optional<double> disk_rate;    // of checkpoint, MB/s; not given: as the disk is
  std::string json;                   // empty: print only

  void define(OptionSet& options);
  void check() const;
  CpuThreads front_check() const;

  /// `--config`, or the benchmark's own, from the working folder or beside the program's.
  std::string config_file() const;
  /// Whether it runs on the CPU wherever the stage would.
  bool on_cpu_alone() const;
};

/// In vmla-core.
int run(const BenchArgs& args);

}  // namespace vmla::launch
