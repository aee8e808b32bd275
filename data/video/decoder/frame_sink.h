#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace vmla::data {

/// A video file that is being written.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// [height, width, 3] bytes, RGB, with the sizes that the sink was opened for.
  virtual void append(const uint8_t* rgb_HW3) = 0;
  /// Finishes the file; RunError if not every frame reached it.
  virtual void close() = 0;
};

/// Opens a file for H.264 (.mp4 and .mkv), Motion JPEG (.avi) or VP8 (.webm). Sizes must be even:
/// colours are stored at half the resolution (4:2:0).
/// UserError for another extension or a build without OpenCV, RunError if the file cannot be
/// written.
std::unique_ptr<FrameSink> open_frame_sink(const std::string& path,
                                           int height,
                                           int width,
                                           double fps);

}  // namespace vmla::data
