#include "analysis/video/foreground.h"

#include <ATen/ATen.h>

#include <cmath>
#include <complex>
#include <numbers>

#include "data/synth/moving_shapes.h"

namespace vmla::analysis {
namespace {

using Harmonic = std::array<std::complex<double>, 2>;  // along x, along y

// Sum over the pixels of a frame of value · exp(2πi position), with positions at pixel centres. On
// a torus its phase is the centre, and the phase between two frames the displacement.
Harmonic first_harmonic(const Foreground& map, int64_t frame) {
  Harmonic sum{};
  for (int64_t row = 0; row < map.side; ++row) {
    for (int64_t column = 0; column < map.side; ++column) {
      const double value = map.at(frame, row, column);
      const double angle = 2 * std::numbers::pi / static_cast<double>(map.side);
      sum[0] += std::polar(value, angle * (static_cast<double>(column) + 0.5));
      sum[1] += std::polar(value, angle * (static_cast<double>(row) + 0.5));
    }
  }
  return sum;
}

// In [-1/2, 1/2]; 0 for 0.
double phase_in_sides(std::complex<double> z) {
  return std::arg(z) / (2 * std::numbers::pi);
}

}  // namespace

int64_t border_width(int64_t side) {
  return static_cast<int64_t>(std::ceil(data::kBorderWidth * static_cast<double>(side)));
}

ClipLevels::ClipLevels(const at::Tensor& clip_F3HW) {
  TORCH_CHECK(clip_F3HW.dim() == 4 && clip_F3HW.size(0) >= 1 && clip_F3HW.size(1) == 3 &&
                  clip_F3HW.size(2) == clip_F3HW.size(3) && clip_F3HW.size(3) >= 8,
              "a clip of moving shapes is [F, 3, H, H] with H >= 8, got ",
              clip_F3HW.sizes());
  frames_ = clip_F3HW.size(0);
  side_ = clip_F3HW.size(3);
  border_ = border_width(side_);
  const double dark = data::kDarkLevel, bright = data::kBrightLevel;
  const at::Tensor levels = clip_F3HW.detach()
                                .to(at::kCPU, at::kFloat)
                                .add(1)
                                .mul(127.5)
                                .sub(dark)
                                .div(bright - dark)
                                .nan_to_num(0, 0, 0)
                                .clamp_min(0)
                                .contiguous();
  const at::Tensor background = levels.amin(0).contiguous();
  levels_.assign(levels.const_data_ptr<float>(), levels.const_data_ptr<float>() + levels.numel());
  background_.assign(background.const_data_ptr<float>(),
                     background.const_data_ptr<float>() + background.numel());
}

std::array<double, 2> mean_displacement(const Foreground& map, int64_t first, int64_t last) {
  Harmonic products{};
  Harmonic before{};
  for (int64_t frame = first; frame < last; ++frame) {
    const Harmonic now = first_harmonic(map, frame);
    if (frame > first) {
      for (size_t axis = 0; axis < 2; ++axis) products[axis] += std::conj(before[axis]) * now[axis];
    }
    before = now;
  }
  return {phase_in_sides(products[0]), phase_in_sides(products[1])};
}

std::array<double, 2> circular_centre(const Foreground& map, int64_t frame) {
  const Harmonic sum = first_harmonic(map, frame);
  return {phase_in_sides(sum[0]), phase_in_sides(sum[1])};
}

double torus_offset(double position, double centre) {
  const double offset = position - centre;
  return offset - std::round(offset);
}

}  // namespace vmla::analysis
