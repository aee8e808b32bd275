#pragma once

#include <cstdint>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla text encode`.
struct TextEncodeArgs : CommandArgs, ComputeArgs {
  static const CommandText kText;

  std::string weights, tokenizer;
  std::string prompts;
  std::string output;
  int64_t text_len = 512;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const TextEncodeArgs& args);

}  // namespace vmla::launch
