#pragma once

#include <filesystem>
#include <string>

#include "data/encode/encode_videos.h"
#include "data/synth/synth_videos.h"
#include "data/video/video_writer.h"
#include "model/io/format.h"

/// Videos of moving shapes, and jobs that encode them.
namespace vmla::data {

/// The name of the i-th rendered video in this build's format.
inline std::string shape_name(int64_t i) {
  return formatted("shape_{:05}{}", i, default_video_extension());
}

inline SynthOptions synth_options(const std::filesystem::path& out, int64_t count) {
  SynthOptions options;
  options.out = out;
  options.count = count;
  return options;
}

inline EncodeOptions encode_options(const std::filesystem::path& videos,
                                    const std::filesystem::path& out) {
  EncodeOptions options;
  options.videos = videos;
  options.out = out;
  return options;
}

}  // namespace vmla::data
