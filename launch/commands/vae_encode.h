#pragma once

#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla vae encode`.
struct VaeEncodeArgs : CommandArgs, CodecArgs {
  static const CommandText kText;

  std::string input, output;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const VaeEncodeArgs& args);

}  // namespace vmla::launch
