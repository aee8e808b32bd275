#pragma once

#include <cstdint>
#include <vector>

#include "data/video/decoder/frame_source.h"

namespace vmla::data {

/// Aspect-preserving resize and centre crop to one output size. Shrinking averages the exact area
/// of every output pixel (what cv::INTER_AREA does); enlarging interpolates linearly.
class CoverResize {
 public:
  CoverResize(int height, int width) : height_(height), width_(width) {}

  /// Writes height·width·3 bytes, RGB.
  void operator()(const SourceFrame& frame, double pixel_aspect, uint8_t* rgb_HW3);

 private:
  /// Output pixel = Σ weight[k] · source[first + k].
  struct Taps {
    int first;
    std::vector<float> weights;
  };
  static std::vector<Taps> taps(int source, double begin, double length, int outputs);
  void prepare(const SourceFrame& frame, double pixel_aspect);

  int height_, width_;
  int source_height_ = 0, source_width_ = 0;
  double pixel_aspect_ = 0;
  std::vector<Taps> rows_, columns_;
  std::vector<float> line_;  // one output row at the source's width
};

}  // namespace vmla::data
