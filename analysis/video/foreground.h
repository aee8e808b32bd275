#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

/// A clip of moving shapes in plain numbers: what all readers of pixels are built on. Positions are
/// fractions of the side, x to the right, y down, on the torus on which shapes wrap around
/// (docs/algorithms.md 14.1).
namespace vmla::analysis {

/// Width of the static border in pixels, of frames with `side` pixels.
int64_t border_width(int64_t side);

/// Levels of one clip: 0 is the dark background, 1 a channel at full intensity. Darker than the
/// background counts as 0.
class ClipLevels {
 public:
  /// `clip_F3HW`: fp32 in [-1, 1], H = W >= 8. Non-finite pixels count as dark.
  explicit ClipLevels(const at::Tensor& clip_F3HW);

  int64_t frames() const { return frames_; }
  int64_t side() const { return side_; }
  /// True for pixels that the border does not touch.
  bool is_interior(int64_t row, int64_t column) const {
    return row >= border_ && row < side_ - border_ && column >= border_ && column < side_ - border_;
  }
  double level(int64_t frame, int64_t channel, int64_t row, int64_t column) const {
    return levels_[index(frame, channel, row, column)];
  }
  /// The least level over time: the static background, wherever the shape leaves the pixel once.
  double background(int64_t channel, int64_t row, int64_t column) const {
    return background_[index(0, channel, row, column)];
  }

 private:
  size_t index(int64_t frame, int64_t channel, int64_t row, int64_t column) const {
    return static_cast<size_t>(((frame * 3 + channel) * side_ + row) * side_ + column);
  }
  int64_t frames_, side_, border_;
  std::vector<float> levels_;      // [F, 3, H, W]
  std::vector<float> background_;  // [3, H, W]
};

/// One map a frame, [F, side, side]: how much of the foreground is where. Not negative.
struct Foreground {
  int64_t frames = 0, side = 0;
  std::vector<double> values;

  Foreground(int64_t frame_count, int64_t pixels)
      : frames(frame_count),
        side(pixels),
        values(static_cast<size_t>(frame_count * pixels * pixels)) {}
  double at(int64_t frame, int64_t row, int64_t column) const {
    return values[static_cast<size_t>((frame * side + row) * side + column)];
  }
  double& at(int64_t frame, int64_t row, int64_t column) {
    return values[static_cast<size_t>((frame * side + row) * side + column)];
  }
};

/// Mean displacement (x, y) a frame over the consecutive pairs in frames [first, last): the phase
/// of the first circular harmonic, summed over the pairs. Displacements beyond half a side alias;
/// without foreground, or with one frame, it is zero.
std::array<double, 2> mean_displacement(const Foreground& map, int64_t first, int64_t last);

/// Centre (x, y) of frame `frame`, from the same harmonic.
std::array<double, 2> circular_centre(const Foreground& map, int64_t frame);

/// The shorter way from `centre` to `position` along one axis of the torus, in [-1/2, 1/2].
double torus_offset(double position, double centre);

}  // namespace vmla::analysis
