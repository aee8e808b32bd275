#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla train`.
struct TrainArgs : CommandArgs, ConfigArgs {
  static const CommandText kText;

  std::string run_dir;  // empty: runs/STAGE
  std::string resume = "auto";
  bool dry_run = false;
  int64_t profile = 0;    // steps to trace; 0: none
  std::string list_keys;  // empty: no; else the form, text or markdown

  void define(OptionSet& options);
  void check() const;
  std::optional<std::string> answer() const;
  CpuThreads front_check() const;
  std::optional<std::string> one_process() const { return std::nullopt; }
};

/// In vmla-core.
int run(const TrainArgs& args);

}  // namespace vmla::launch
