#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "data/video/decoder_process.h"

namespace vmla::data {

/// What each of `videos` says of itself, asked on `threads` threads with a decoder process each. No
/// picture is decoded. While it waits it calls `idle` with the number of videos that are done, ten
/// times a second; what that throws ends it, and so does what ends a thread.
std::vector<VideoLook> look_at_videos(const std::vector<std::filesystem::path>& videos,
                                      int64_t threads,
                                      double time_limit_seconds,
                                      const std::filesystem::path& program,
                                      const std::function<void(size_t done)>& idle);

}  // namespace vmla::data
