#pragma once

#include <cstdint>
#include <vector>

#include "data/video/decoder/frame_source.h"

namespace vmla::data {

/// Resizes pictures so that they cover one output size without distortion, and cuts out the middle.
/// Shrinking averages the exact area of every output pixel (what cv::INTER_AREA does); enlarging
/// interpolates linearly. Both axes are independent, so a picture costs two passes of sums.
class CoverResize {
 public:
  CoverResize(int height, int width) : height_(height), width_(width) {}

  /// Writes height·width·3 bytes, RGB.
  void operator()(const SourceFrame& frame, double pixel_aspect, uint8_t* rgb_HW3);

 private:
  /// One output pixel along an axis: Σ weights[k] · source[first + k]; the weights sum up to 1.
  struct Taps {
    int first;
    std::vector<float> weights;
  };
  /// The part [begin, begin + length) of a source axis.
  struct Part {
    double begin, length;
  };
  static std::vector<Taps> taps(int source, const Part& part, int outputs);
  /// Computes the taps again where frame size or aspect changed since the last call.
  void prepare(const SourceFrame& frame, double pixel_aspect);

  int height_, width_;
  // What rows_ and columns_ were computed for.
  int source_height_ = 0, source_width_ = 0;
  double pixel_aspect_ = 0;
  std::vector<Taps> rows_, columns_;
  std::vector<float> line_;  // one output row at the source's width, 3 channels
};

}  // namespace vmla::data
