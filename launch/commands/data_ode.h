#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla data ode`.
struct DataOdeArgs : CommandArgs, CheckpointArgs, TextArgs, ComputeArgs {
  static const CommandText kText;

  std::string data;
  std::string out;
  int64_t steps = 48;
  double guidance = 6.0;
  std::string negative_prompt;
  std::vector<double> denoising_steps = {1000, 750, 500, 250};
  std::optional<double> shift;  // none: the checkpoint's, else 5
  std::string way = "cached";
  int64_t seed = 0;
  int64_t limit = 0;  // clips; 0: all
  int64_t batch = 1;
  std::string dtype = "bf16";
  bool overwrite = false;

  void define(OptionSet& options);
  void check() const;
};

/// In vmla-core.
int run(const DataOdeArgs& args);

}  // namespace vmla::launch
