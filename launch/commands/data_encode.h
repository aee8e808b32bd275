#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla data encode`.
struct DataEncodeArgs : CommandArgs, TextArgs, ComputeArgs {
  static const CommandText kText;

  std::string videos;
  std::string out;
  std::string codec = "space_to_depth:2";
  std::string codec_weights;
  int64_t tile = 0;
  std::string text = "hashing:32x8";
  int64_t frames = 9;                    // pixel frames of a clip
  std::optional<int64_t> height, width;  // 16 where neither they nor sizes are given
  std::optional<std::string> sizes;      // several, "480x832,832x480"
  double fps = 8.0;
  int64_t stride = 0;     // frames between the starts of two clips; 0: frames
  int64_t max_clips = 0;  // of a video; 0: as many as fit
  int64_t hold_out_every = 0;
  bool held_out = false;
  int64_t threads = 0;  // 0: one decoder a core
  double timeout_seconds = 60.0;
  std::optional<std::string> negative_prompt;  // whose embedding is stored besides
  bool overwrite = false;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataEncodeArgs& args);

}  // namespace vmla::launch
