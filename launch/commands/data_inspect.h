#pragma once

#include <string>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla data inspect`.
struct DataInspectArgs : CommandArgs {
  static const CommandText kText;

  std::string file;
  std::string sheet;  // empty: beside the file
  std::string codec_weights;
  bool full = false;  // read all clips

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataInspectArgs& args);

}  // namespace vmla::launch
