#pragma once

#include <array>
#include <cstdint>

#include "analysis/video/coverage.h"

namespace vmla::analysis {

/// Intensity of a shape's surface, t0 + t1 u + t2 v + t3 u v, with (u, v) the offset from its
/// centre in units of its size: mean, slope across, slope down, twist.
using Texture = std::array<double, 4>;

/// A least-squares fit over the shape's inner pixels in frames [first, last). `size`: square root
/// of the shape's area, fraction of the side.
Texture read_texture(const BrightChannels& channels,
                     const Foreground& coverage,
                     double size,
                     int64_t first,
                     int64_t last);

}  // namespace vmla::analysis
