#pragma once

#include <string>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla doctor`.
struct DoctorArgs : CommandArgs {
  static const CommandText kText;

  std::string disk = ".";  // the folder whose disk is tried
  std::string json;        // empty: print the page only

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DoctorArgs& args);

}  // namespace vmla::launch
