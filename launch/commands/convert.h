#pragma once

#include <string>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla convert`.
struct ConvertArgs : CommandArgs {
  static const CommandText kText;

  std::string in, out;
  std::string to;  // "": the names that --in does not have
  std::string weights_role = "ema";

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const ConvertArgs& args);

}  // namespace vmla::launch
