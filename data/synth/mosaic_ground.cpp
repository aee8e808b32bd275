#include "data/synth/mosaic_ground.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "data/synth/moving_shapes.h"

namespace vmla::data {
namespace {

// Behind the numbers of the shape, with room for more of them.
constexpr uint64_t kFirstDraw = 64;

}  // namespace

double MosaicGround::at(int64_t channel, double x, double y, int64_t frame) const {
  if (mosaic.is_hidden(frame)) return mosaic.level;
  const auto cell = [this](double position) {
    const auto place = static_cast<int64_t>(position * static_cast<double>(mosaic.cells));
    return std::clamp<int64_t>(place, 0, mosaic.cells - 1);
  };
  return values[static_cast<size_t>((channel * mosaic.cells + cell(y)) * mosaic.cells + cell(x))];
}

MosaicGround draw_ground(const MosaicConfig& mosaic, uint64_t seed, uint64_t index, bool held_out) {
  const kernels::DrawKey key = clip_key(seed, index, held_out);
  const int64_t a_channel = mosaic.cells * mosaic.cells;
  MosaicGround ground{.mosaic = mosaic, .values = {}};
  ground.values.reserve(static_cast<size_t>(3 * a_channel));
  for (int64_t i = 0; i < 3 * a_channel; ++i) {
    const int64_t draw = mosaic.gray() ? i % a_channel : i;
    const double uniform = kernels::uniform_at(key, kFirstDraw + static_cast<uint64_t>(draw));
    ground.values.push_back(
        mosaic.value(static_cast<int64_t>(uniform * static_cast<double>(mosaic.levels))));
  }
  return ground;
}

}  // namespace vmla::data
