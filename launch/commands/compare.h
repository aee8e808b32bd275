#pragma once

#include <string>
#include <vector>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla compare`.
struct CompareArgs : CommandArgs {
  static const CommandText kText;

  // Two, of which the second may be a reference trace; with make_reference any number of runs.
  std::vector<std::string> runs;
  std::string make_reference;  // file or folder to write; empty: compare
  std::string out;             // empty: print only
  bool check_band = false;     // --check

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const CompareArgs& args);

}  // namespace vmla::launch
