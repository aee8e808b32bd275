#pragma once

#include <optional>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla data prompts`.
struct DataPromptsArgs : CommandArgs, TextArgs, ComputeArgs {
  static const CommandText kText;

  std::string prompts;
  std::string out;
  std::optional<std::string> text;             // none: that of `like`, else hashing:32x8
  std::string like;                            // dataset; empty: for no clips in particular
  std::optional<std::string> negative_prompt;  // whose embedding is stored besides
  bool overwrite = false;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataPromptsArgs& args);

}  // namespace vmla::launch
