#pragma once

#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla analyze init`.
struct AnalyzeInitArgs : CommandArgs, WeightsArgs, ConfigArgs {
  static const CommandText kText;

  std::string data, held_out;
  int64_t held_out_clips = 8;
  bool budget = false, pairs = false;
  std::string out;

  void define(OptionSet& options);
  CpuThreads front_check() const;
};

/// In vmla-core.
int run(const AnalyzeInitArgs& args);

}  // namespace vmla::launch
