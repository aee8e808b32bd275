#pragma once

#include "trainer/inputs/media_info.h"
#include "trainer/telemetry/tensorboard.h"

#include <filesystem>
#include <string>
#include <vector>

namespace vmla::trainer {

/// A sampled video as an animation for TensorBoard.
struct SampleAnimation {
  std::string name;  // of the file, without its extension
  EncodedImage gif;
};

/// The first of the videos `files` (eight at most, of up to 64 frames and 256 pixels a side), read
/// back from their files. `media` says how high, wide and fast they are. What cannot be read back
/// costs a line in the log, not the run.
std::vector<SampleAnimation> sample_animations(const std::vector<std::filesystem::path>& files,
                                               const MediaInfo& media);

}  // namespace vmla::trainer
