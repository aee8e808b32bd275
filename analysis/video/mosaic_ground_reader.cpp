#include "analysis/video/mosaic_ground_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "analysis/video/foreground.h"
#include "data/synth/shape_levels.h"

namespace vmla::analysis {
namespace {

constexpr double kNoiseDeviations = 2.5;

// The level above which a pixel belongs to the shape: in the middle between the largest value of
// the ground and the darkest surface of a shape.
double shape_level(const data::MosaicConfig& mosaic) {
  return (mosaic.level + mosaic.peak() + data::darkest_surface()) / 2;
}

// Sums of `values` [F, C, H, H] over the cells: [F, C, cells, cells].
at::Tensor cell_sums(const at::Tensor& values, int64_t cells) {
  const int64_t cell = values.size(3) / cells;
  return values.reshape({values.size(0), values.size(1), cells, cell, cells, cell})
      .sum(at::IntArrayRef{3, 5});
}

// [F, 1, H, H]: pixels that the shape touches, or that lie beside one that it does (its soft edge
// mixes with the ground), or lie under the border.
at::Tensor hidden_pixels(const at::Tensor& clip_F3HW, const data::MosaicConfig& mosaic) {
  const int64_t side = clip_F3HW.size(3), border = border_width(side);
  at::Tensor touched = clip_F3HW.amax(1, /*keepdim=*/true).gt(shape_level(mosaic));
  // The border may be as bright as a shape, and hides nothing beside it.
  for (const int64_t dim : {2, 3}) {
    touched.narrow(dim, 0, border).fill_(false);
    touched.narrow(dim, side - border, border).fill_(false);
  }
  at::Tensor hidden = at::max_pool2d(touched.to(at::kFloat), {3, 3}, {1, 1}, {1, 1}).gt(0);
  for (const int64_t dim : {2, 3}) {
    hidden.narrow(dim, 0, border).fill_(true);
    hidden.narrow(dim, side - border, border).fill_(true);
  }
  return hidden;
}

}  // namespace

std::vector<GroundReading> read_ground(const at::Tensor& clip_F3HW,
                                       const std::vector<int64_t>& chunk_frames,
                                       const data::MosaicConfig& mosaic) {
  TORCH_CHECK(clip_F3HW.dim() == 4 && clip_F3HW.size(1) == 3 &&
                  clip_F3HW.size(2) == clip_F3HW.size(3) && clip_F3HW.size(3) % mosaic.cells == 0,
              "a clip of a mosaic is [F, 3, H, H] with H a multiple of ",
              mosaic.cells,
              ", got ",
              clip_F3HW.sizes());
  at::Tensor clip = clip_F3HW.detach().to(at::kCPU, at::kFloat);
  // What is not finite is nothing that could be read: as bright as a shape.
  clip = at::where(clip.isfinite(), clip, at::ones({}));
  const at::Tensor free = hidden_pixels(clip, mosaic).logical_not().to(at::kDouble);
  const at::Tensor border_free = at::zeros({1, 1, clip.size(2), clip.size(3)}, at::kDouble);
  const int64_t border = border_width(clip.size(3)), inner = clip.size(3) - 2 * border;
  border_free.narrow(2, border, inner).narrow(3, border, inner).fill_(1);
  const at::Tensor most = cell_sums(border_free, mosaic.cells);  // pixels of a cell in all
  // [F, 1, cells, cells]: the shape touches no pixel of the cell.
  at::Tensor whole = cell_sums(free, mosaic.cells).eq(most).logical_and(most.gt(0));
  at::Tensor values = (clip.to(at::kDouble) - mosaic.level) / mosaic.amplitude;
  if (mosaic.gray()) values = values.mean(1, /*keepdim=*/true);
  const at::Tensor numbers =
      cell_sums(values * border_free, mosaic.cells) / most.clamp_min(1);  // [F, C, cells, cells]

  std::vector<GroundReading> readings;
  int64_t first = 0;
  for (const int64_t frames : chunk_frames) {
    TORCH_CHECK(first + frames <= clip.size(0), "chunks are longer than the clip");
    at::Tensor counted = whole.narrow(0, first, frames).to(at::kDouble);
    for (int64_t f = 0; f < frames; ++f) {
      if (mosaic.is_hidden(first + f)) counted[f].zero_();
    }
    const at::Tensor count = counted.sum(0);  // [1, cells, cells]
    const at::Tensor sum = (numbers.narrow(0, first, frames) * counted).sum(0);
    const at::Tensor mean = sum / count.clamp_min(1);
    readings.push_back({mean, count.gt(0).expand_as(mean).contiguous()});
    first += frames;
  }
  return readings;
}

at::Tensor without_ground(const at::Tensor& clip_F3HW, const data::MosaicConfig& mosaic) {
  const double dark = data::pixel_value(data::kDarkLevel);
  at::Tensor clip = clip_F3HW.detach().to(at::kCPU, at::kFloat);
  clip = at::where(clip.isfinite(), clip, at::full({}, dark));
  at::Tensor free = hidden_pixels(clip, mosaic).logical_not().to(at::kFloat);  // [F, 1, H, H]
  for (int64_t f = 0; f < free.size(0); ++f) {
    if (mosaic.is_hidden(f)) free[f].zero_();
  }
  const at::Tensor count = free.sum(0, /*keepdim=*/true);
  at::Tensor ground = (clip * free).sum(0, /*keepdim=*/true) / count.clamp_min(1);
  ground = at::where(count.gt(0), ground, at::full({}, mosaic.level));
  // The border stays as it is.
  const int64_t side = clip.size(3), border = border_width(side), inner = side - 2 * border;
  const auto inside = [&](const at::Tensor& picture) {
    return picture.narrow(2, border, inner).narrow(3, border, inner);
  };
  at::Tensor behind = at::full({clip.size(0), 3, side, side}, mosaic.level);
  for (int64_t f = 0; f < clip.size(0); ++f) {
    if (!mosaic.is_hidden(f)) behind[f] = ground[0];
  }
  at::Tensor above = inside(clip) - inside(behind);
  // How far a clip's ground strays from frame to frame, of what is free: 2.5 deviations are noise.
  const at::Tensor still = inside(free).expand_as(above);
  const double stray = std::sqrt((above.square() * still).sum().item<double>() /
                                 std::max(1.0, still.sum().item<double>()));
  const double least_step = data::darkest_surface() - mosaic.level - mosaic.peak();
  const double noise =
      std::min(least_step, std::max(mosaic.amplitude / 2, kNoiseDeviations * stray));
  above = at::where(above.gt(noise), above, at::zeros({}));
  inside(clip).copy_(above / (1 - inside(behind)) * (1 - dark) + dark);
  return clip;
}

}  // namespace vmla::analysis
