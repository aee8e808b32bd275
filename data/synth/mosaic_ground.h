#pragma once

#include <cstdint>
#include <vector>

#include "data/synth/mosaic_config.h"

namespace vmla::data {

/// The ground of one clip: a random number for each cell and channel, the same in all frames.
struct MosaicGround {
  MosaicConfig mosaic;
  /// Pixel values in [-1, 1], [3, cells, cells]: channel, row, column.
  std::vector<double> values;

  /// At (x, y), fractions of the side; `level` in frames in which the ground is hidden.
  double at(int64_t channel, double x, double y, int64_t frame) const;
};

/// The ground of clip `index` of the clips that (seed, held_out) name, a function of these and of
/// `mosaic` alone. It is drawn at the address of the clip's shape, behind its numbers
/// (docs/algorithms.md 14.3): with a ground or without one a clip has the same shape, and gray and
/// rgb share the numbers of the first channel.
MosaicGround draw_ground(const MosaicConfig& mosaic, uint64_t seed, uint64_t index, bool held_out);

}  // namespace vmla::data
