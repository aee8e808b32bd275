#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla data import`.
struct DataImportArgs : CommandArgs, TextArgs, ComputeArgs {
  static const CommandText kText;

  std::string from, in, out;
  std::string text = "umt5";
  double fps = 16.0;
  std::vector<double> states, ode_times;
  std::string dtype = "bf16";
  bool normalize = false;
  bool overwrite = false;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataImportArgs& args);

}  // namespace vmla::launch
