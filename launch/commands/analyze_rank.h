#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla analyze rank`.
struct AnalyzeRankArgs : CommandArgs {
  static const CommandText kText;

  std::vector<std::string> checkpoints;
  std::string data;  // empty: no activations are measured
  int64_t clips = 16;
  std::string start;  // empty: each series' first checkpoint
  std::string out;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const AnalyzeRankArgs& args);

}  // namespace vmla::launch
