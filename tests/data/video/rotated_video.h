#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/support/temporary_folder.h"

namespace vmla::data {

/// Puts `degrees` clockwise into the track header's matrix of an .mp4 file (ISO 14496-12, 8.3.2),
/// as phones do.
inline void set_rotation(const std::filesystem::path& path, int degrees) {
  std::string bytes = file_bytes(path);
  const size_t matrix =
      bytes.find("tkhd") + 4 + 4 + 20 + 16;  // version 0: times, ids and layer come first
  const int cosine = degrees == 0 ? 1 : (degrees == 180 ? -1 : 0),
            sine = degrees == 90 ? 1 : (degrees == 270 ? -1 : 0);
  const int values[5] = {cosine, sine, 0, -sine, cosine};
  for (size_t i = 0; i < 5; ++i) {
    const auto fixed = static_cast<uint32_t>(values[i] * 65536);
    for (size_t b = 0; b < 4; ++b)
      bytes[matrix + 4 * i + b] = static_cast<char>(fixed >> (24 - 8 * b));
  }
  write_bytes(path, bytes);
}

}  // namespace vmla::data
