#include "data/video/decoder/resize.h"

#include <algorithm>
#include <cmath>

namespace vmla::data {

std::vector<CoverResize::Taps> CoverResize::taps(int source, const Part& part, int outputs) {
  const auto [begin, length] = part;
  const double step = length / outputs;  // source pixels of an output pixel
  std::vector<Taps> all;
  for (int i = 0; i < outputs; ++i) {
    Taps out;
    if (step >= 1) {
      // The overlap of every source pixel with [low, high).
      const double low = begin + i * step, high = low + step;
      out.first = std::clamp(static_cast<int>(std::floor(low + 1e-9)), 0, source - 1);
      for (int s = out.first; s < source && (s < high - 1e-9 || out.weights.empty()); ++s) {
        out.weights.push_back(
            static_cast<float>(std::min<double>(high, s + 1) - std::max<double>(low, s)));
      }
    } else {
      // Between the two source pixels around the centre, never beyond the part that is kept.
      const double centre =
          std::clamp(begin + (i + 0.5) * step - 0.5, begin, begin + std::max(length - 1, 0.0));
      out.first = std::min(static_cast<int>(centre), std::max(source - 2, 0));
      const auto fraction = static_cast<float>(centre - out.first);
      out.weights = {1 - fraction};
      if (source > 1) out.weights.push_back(fraction);
    }
    float sum = 0;
    for (const float w : out.weights) sum += w;
    for (float& w : out.weights) w /= sum;
    all.push_back(std::move(out));
  }
  return all;
}

void CoverResize::prepare(const SourceFrame& frame, double pixel_aspect) {
  if (frame.height == source_height_ && frame.width == source_width_ &&
      pixel_aspect == pixel_aspect_)
    return;
  source_height_ = frame.height;
  source_width_ = frame.width;
  pixel_aspect_ = pixel_aspect;
  // The largest centred part of the picture that has the shape of the output.
  const double wanted = static_cast<double>(width_) / height_;
  double part_width = frame.width, part_height = frame.height;
  if (frame.width * pixel_aspect > wanted * frame.height) {
    part_width = frame.height * wanted / pixel_aspect;
  } else {
    part_height = frame.width * pixel_aspect / wanted;
  }
  rows_ = taps(frame.height, {(frame.height - part_height) / 2, part_height}, height_);
  columns_ = taps(frame.width, {(frame.width - part_width) / 2, part_width}, width_);
  line_.resize(static_cast<size_t>(frame.width) * 3);
}

void CoverResize::operator()(const SourceFrame& frame, double pixel_aspect, uint8_t* rgb_HW3) {
  prepare(frame, pixel_aspect);
  const int red = frame.blue_first ? 2 : 0;  // where red is in a source pixel
  const size_t begin = static_cast<size_t>(columns_.front().first) * 3;
  const size_t end =
      (static_cast<size_t>(columns_.back().first) + columns_.back().weights.size()) * 3;
  for (const Taps& row : rows_) {
    std::fill(line_.begin(), line_.end(), 0.0f);
    for (size_t k = 0; k < row.weights.size(); ++k) {
      const uint8_t* source =
          frame.pixels + (row.first + static_cast<int64_t>(k)) * frame.row_bytes;
      const float weight = row.weights[k];
      for (size_t i = begin; i < end; ++i) line_[i] += weight * static_cast<float>(source[i]);
    }
    for (const Taps& column : columns_) {
      float sums[3] = {0.5f, 0.5f, 0.5f};  // so that cutting off the fraction rounds
      const float* source = line_.data() + static_cast<size_t>(column.first) * 3;
      for (const float weight : column.weights) {
        for (int c = 0; c < 3; ++c) sums[c] += weight * source[c];
        source += 3;
      }
      for (int c = 0; c < 3; ++c) {
        *rgb_HW3++ =
            static_cast<uint8_t>(std::min(sums[c == 1 ? 1 : (c == 0 ? red : 2 - red)], 255.0f));
      }
    }
  }
}

}  // namespace vmla::data
