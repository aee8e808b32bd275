#pragma once

#include <cstdint>
#include <string>

#include "data/synth/mosaic_config.h"
#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla data synth`.
struct DataSynthArgs : CommandArgs {
  static const CommandText kText;

  std::string out;
  int64_t count = 0;  // clips
  int64_t seed = 0;
  bool held_out = false;
  int64_t frames = 9;
  int64_t size = 128;  // pixels a side
  double fps = 8.0;
  std::string scene;          // shapes (also if empty) or mosaic
  data::MosaicConfig mosaic;  // where that is the scene
  std::string format;         // empty: mp4, or y4m in a build without OpenCV

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const DataSynthArgs& args);

}  // namespace vmla::launch
