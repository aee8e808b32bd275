#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "data/encode/encode_videos.h"

namespace vmla::model {
class VideoCodec;
class TextEncoder;
}  // namespace vmla::model

namespace vmla::data {

/// The videos of a folder that one dataset file is made of, at one size.
struct EncodePass {
  EncodeOptions options;        // complete: nothing is left to us; `out` is a file
  std::filesystem::path shown;  // `out` in the log: where the file will stand in the end
  std::vector<size_t> mine;     // places in the folder's videos, ascending
};

/// Where several passes go over the same folder, each reads `mine` and passes over the rest. No
/// clip: the report says so, and there is no file.
EncodeReport run_encode_pass(const EncodePass& pass,
                             const VideoFolder& folder,
                             const model::VideoCodec& codec,
                             const model::TextEncoder& text);

/// Of everything that decides the result of a pass but which videos are its own: that follows from
/// the videos and options.sizes.
std::string pass_fingerprint(const EncodeOptions& options,
                             const std::vector<VideoEntry>& videos,
                             const model::VideoCodec& codec,
                             const model::TextEncoder& text);

}  // namespace vmla::data
