#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla data generate`.
struct DataGenerateArgs : CommandArgs, WeightsArgs, TextArgs, ComputeArgs {
  static const CommandText kText;

  std::string prompts;
  std::string out;
  int64_t count_per_prompt = 1;
  int64_t batch = 1;
  std::string sampler = "unipc";
  int64_t steps = 50;
  double guidance = 5.0;
  double shift = 5.0;
  std::string negative_prompt;
  int64_t seed = 0;
  // None: what the checkpoint was trained on.
  std::optional<std::string> codec, text;
  std::string codec_weights;
  std::optional<double> fps;
  std::optional<int64_t> frames;         // latent
  std::optional<int64_t> height, width;  // in pixels
  bool overwrite = false;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataGenerateArgs& args);

}  // namespace vmla::launch
