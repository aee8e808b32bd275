#pragma once

#include <optional>
#include <string>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla data prompts`.
struct DataPromptsArgs : CommandArgs {
  static const CommandText kText;

  std::string prompts;
  std::string out;
  std::optional<std::string> text;  // none: that of `like`, else hashing:32x8
  std::string like;                 // dataset; empty: for no clips in particular
  bool overwrite = false;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataPromptsArgs& args);

}  // namespace vmla::launch
