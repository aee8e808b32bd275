#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/synth/mosaic_config.h"

namespace vmla::data {

/// One `vmla data synth`.
struct SynthOptions {
  std::filesystem::path out;  // folder
  int64_t count = 0;          // videos
  int64_t frames = 9;         // of a video; the shape crosses the picture in about as many
  double fps = 8;
  int64_t size = 128;  // pixels a side; below 128 H.264 spoils the colours
  uint64_t seed = 0;
  std::optional<MosaicConfig> mosaic;  // behind the shapes; without one it is dark
  bool held_out = false;  // the 12 held-out caption combinations instead of the other 60
  std::string format;     // mp4 | avi | webm | mkv | y4m; empty: what this build writes best
  std::filesystem::path decoder;  // that also encodes; empty: vmla-decode beside this program
};

/// Renders moving-shape clips as video files shape_NNNNN.FORMAT, and captions.csv last: a folder
/// that has it is complete. What an interrupted run of the same options left is kept. UserError for
/// options out of range or a folder that holds other clips; RunError when a file cannot be written.
void synth_videos(const SynthOptions& options);

/// The scene (scene_text) of a folder that synth_videos made; empty for every other folder of
/// videos. UserError where the folder says something that synth_videos does not write.
std::string scene_of_folder(const std::filesystem::path& folder);

}  // namespace vmla::data
