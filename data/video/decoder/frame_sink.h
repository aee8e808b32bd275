#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace vmla::data {

/// A video file being written.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// [height, width, 3] bytes, RGB.
  virtual void append(const uint8_t* rgb_HW3) = 0;
  /// Finishes the file; RunError if not every frame reached it.
  virtual void close() = 0;
};

/// H.264 in .mp4 and .mkv, Motion JPEG in .avi, VP8 in .webm. Sizes must be even (4:2:0 chroma).
/// UserError for another extension or a build without OpenCV, RunError if the file cannot be
/// written.
std::unique_ptr<FrameSink> open_frame_sink(const std::string& path,
                                           int height,
                                           int width,
                                           double fps);

}  // namespace vmla::data
