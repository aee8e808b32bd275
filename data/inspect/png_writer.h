#pragma once

#include <cstdint>
#include <filesystem>

namespace vmla::data {

/// Writes a picture, [height, width, 3] bytes RGB, as PNG, atomically. RunError if it cannot.
void write_png(const std::filesystem::path& path,
               const uint8_t* rgb_HW3,
               int64_t height,
               int64_t width);

}  // namespace vmla::data
