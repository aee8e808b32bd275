#include "analysis/video/presence.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numbers>
#include <vector>

#include "analysis/video/coverage.h"
#include "data/synth/moving_shapes.h"

namespace vmla::analysis {
namespace {

// A pixel that is covered less belongs to the noise or to the shape's soft edge.
constexpr double kSolid = 1.0 / 3;

// The mean of size² where size is uniform between kMinSize and kMaxSize, as draw_clip draws it.
constexpr double kMeanRealArea =
    (data::kMaxSize * data::kMaxSize + data::kMaxSize * data::kMinSize +
     data::kMinSize * data::kMinSize) /
    3;

// Coverage without what is hardly covered; at most 1.
Foreground solid_part(Foreground coverage) {
  for (double& value : coverage.values) value = value < kSolid ? 0.0 : std::min(value, 1.0);
  return coverage;
}

// The share of a frame's foreground inside the disc of the same area around its centre: 1 for a
// circle, 0.8 and more for the other forms, about `area` for noise all over the frame.
double share_together(const Foreground& solid, int64_t frame, double area) {
  const auto [x, y] = circular_centre(solid, frame);
  const auto side = static_cast<double>(solid.side);
  double inside = 0, all = 0;
  for (int64_t row = 0; row < solid.side; ++row) {
    for (int64_t column = 0; column < solid.side; ++column) {
      const double value = solid.at(frame, row, column);
      const double dx = torus_offset((static_cast<double>(column) + 0.5) / side, x);
      const double dy = torus_offset((static_cast<double>(row) + 0.5) / side, y);
      all += value;
      inside += std::numbers::pi * (dx * dx + dy * dy) <= area ? value : 0.0;
    }
  }
  return all > 0 ? inside / all : 0;
}

bool is_there(const Foreground& solid, int64_t frame, double area) {
  constexpr double kLeast = kLeastAreaShare * data::kMinSize * data::kMinSize;
  constexpr double kMost = kMostAreaShare * data::kMaxSize * data::kMaxSize;
  return area >= kLeast && area <= kMost && share_together(solid, frame, area) >= kLeastTogether;
}

// Whether at least half of each third of the frames is true. A clip of two frames has a beginning
// and an end alone.
bool holds_throughout(const std::vector<bool>& there) {
  const size_t parts = std::min<size_t>(3, there.size());
  for (size_t part = 0; part < parts; ++part) {
    const size_t begin = part * there.size() / parts, end = (part + 1) * there.size() / parts;
    size_t count = 0;
    for (size_t i = begin; i < end; ++i) count += there[i];
    if (2 * count < end - begin) return false;
  }
  return parts > 0;
}

}  // namespace

Presence read_presence(const at::Tensor& clip_F3HW, int colour) {
  const ClipLevels clip(clip_F3HW);
  const BrightChannels channels = bright_channels(clip, colour);
  const double intensity = surface_intensity(interior_of(clip, channels.excess));
  const Foreground solid = solid_part(coverage_of(channels, intensity));
  Presence presence;
  std::vector<bool> there;
  for (int64_t f = 0; f < solid.frames; ++f) {
    const double area = covered_area(solid, f);
    there.push_back(is_there(solid, f, area));
    presence.area += area / kMeanRealArea / static_cast<double>(solid.frames);
    presence.frames += there.back() / static_cast<double>(solid.frames);
  }
  presence.throughout = holds_throughout(there);
  return presence;
}

}  // namespace vmla::analysis
