#pragma once

#include <cstdint>
#include <string>

namespace vmla::data {

/// What a file is by its first bytes, whatever its name says.
struct FileHead {
  enum class Kind {
    kY4m,       // read by us
    kMp4,       // mp4, mov and their kin: the track says how many pictures it has
    kAvi,       // likewise
    kMxf,       // likewise
    kMatroska,  // mkv, webm
    kFileList,  // a playlist or a manifest: text that names other files
    kOther,     // FFmpeg may know it
  } kind = Kind::kOther;
  /// Where the container says so at its start (Matroska's segment): the bytes that the file must
  /// have; else 0.
  uint64_t promised_bytes = 0;
  uint64_t file_bytes = 0;
};

/// UserError, without the path, where `path` is missing, is no regular file, is empty or cannot be
/// read; a pipe is not waited for.
FileHead read_file_head(const std::string& path);

}  // namespace vmla::data
