#pragma once

#include <string>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla analyze spectrum`.
struct AnalyzeSpectrumArgs : CommandArgs {
  static const CommandText kText;

  std::string weights;
  std::string map;  // empty: the weights have our tensor names
  std::string out;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const AnalyzeSpectrumArgs& args);

}  // namespace vmla::launch
