#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/video/decoder/file_head.h"
#include "data/video/video_protocol.h"

/// How the program vmla-decode reads a video. No LibTorch here: the process is cheap and may die.
namespace vmla::data {

/// A decoded picture, upright. The source owns the pixels; they stay valid until the second call of
/// next() after this one, so that two frames can be compared.
struct SourceFrame {
  const uint8_t* pixels = nullptr;  // rows of 3 bytes a pixel
  int64_t row_bytes = 0;            // from one row to the next
  int height = 0, width = 0;        // pixels
  bool blue_first = false;          // BGR instead of RGB
  double seconds = 0;               // time stamp: 0 for the first frame, strictly increasing
};

/// Frames of one video in order. Constructing throws UserError with the reason when the file cannot
/// be read; what goes wrong later ends the frames, and damage() says what it was.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual VideoInfo info() const = 0;
  /// Width of a pixel over its height, as the picture is to be shown.
  virtual double pixel_aspect() const = 0;
  /// False after the last frame that can be decoded.
  virtual bool next(SourceFrame& frame) = 0;
  /// After next() was false or at any time: what is wrong with the file from here on; empty if
  /// nothing is.
  virtual std::string damage() const = 0;
};

/// A .y4m file (read by us), or anything else through OpenCV where the build has it. Nothing but
/// the file at `path` is opened, whatever its content asks for.
std::unique_ptr<FrameSource> open_frame_source(const std::string& path);

std::unique_ptr<FrameSource> open_y4m_source(const std::string& path);
std::unique_ptr<FrameSource> open_opencv_source(const std::string& path, const FileHead& head);

}  // namespace vmla::data
