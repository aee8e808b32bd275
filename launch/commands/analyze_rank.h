#pragma once

#include <string>
#include <vector>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla analyze rank`.
struct AnalyzeRankArgs : CommandArgs {
  static const CommandText kText;

  std::vector<std::string> checkpoints;
  std::string out;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const AnalyzeRankArgs& args);

}  // namespace vmla::launch
