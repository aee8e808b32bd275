#include "analysis/video/drift_window.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "analysis/video/foreground.h"
#include "analysis/video/motion.h"
#include "analysis/video/shape_reader.h"

namespace vmla::analysis {
namespace {

double mean_of(const at::Tensor& values) {
  return values.mean().item<double>();
}

double spread_of(const at::Tensor& values) {
  return std::sqrt((values - values.mean()).square().mean().item<double>());
}

// Levels in fp64, [F, 3, H, W]: 0 the dark background, 1 full intensity. Unlike ClipLevels' they
// may be negative: a background that grows darker drifts, too.
at::Tensor levels_of(const at::Tensor& clip_F3HW) {
  const double dark = data::kDarkLevel, bright = data::kBrightLevel;
  return clip_F3HW.detach()
      .to(at::kCPU, at::kDouble)
      .nan_to_num(-1, -1, -1)
      .add(1)
      .mul(127.5)
      .sub(dark)
      .div(bright - dark);
}

at::Tensor interior(const at::Tensor& levels, int64_t border) {
  const int64_t inner = levels.size(-1) - 2 * border;
  return levels.narrow(-1, border, inner).narrow(-2, border, inner);
}

// The border's true levels, [3, H, W]; NaN inside. Left and right span the whole height and are
// painted last.
at::Tensor true_border(int64_t side) {
  const int64_t width = border_width(side);
  at::Tensor border = at::full({3, side, side}, NAN, at::kDouble);
  enum Place : size_t { kLeft, kRight, kTop, kBottom };  // the order of data::kBorderColour
  const auto paint = [&](at::Tensor part, Place place) {
    const auto colour = static_cast<size_t>(data::kBorderColour.at(place));
    for (int64_t c = 0; c < 3; ++c) {
      part[c].fill_(data::kBorderIntensity *
                    data::kColourChannels.at(colour).at(static_cast<size_t>(c)));
    }
  };
  paint(border.narrow(1, 0, width), kTop);
  paint(border.narrow(1, side - width, width), kBottom);
  paint(border.narrow(2, 0, width), kLeft);
  paint(border.narrow(2, side - width, width), kRight);
  return border;
}

// Angle in radians between the colour of what moves (weighted as in read_shape) and the asked one;
// 0 where nothing moves.
double hue_error(const at::Tensor& excess_F3HW, const data::Combination& asked) {
  const at::Tensor weight = excess_F3HW.amax(1, /*keepdim=*/true);
  const at::Tensor sum = (weight * excess_F3HW).sum(at::IntArrayRef{0, 2, 3});  // [3]
  double dot = 0, norm = 0;
  for (int64_t c = 0; c < 3; ++c) {
    const int on =
        data::kColourChannels.at(static_cast<size_t>(asked.colour)).at(static_cast<size_t>(c));
    dot += sum[c].item<double>() * on;
    norm += on;
  }
  const double length = std::sqrt(norm) * sum.norm().item<double>();
  return length > 0 ? std::acos(std::clamp(dot / length, -1.0, 1.0)) : 0;
}

// Over both axes. In units of the contrast, so that fading alone does not change it.
double sharpness_of(const at::Tensor& levels, double contrast) {
  if (contrast <= 0) return 0;
  return 0.5 * (mean_of(levels.diff(1, -1).abs()) + mean_of(levels.diff(1, -2).abs())) / contrast;
}

void put(DriftWindow& window, DriftFigure figure, double value) {
  window.values[static_cast<size_t>(figure)] = value;
}

// `levels`: [F, 3, H, W]. So below.
void read_levels(const at::Tensor& levels, DriftWindow& window) {
  const double contrast = spread_of(levels);
  put(window, DriftFigure::kBrightness, mean_of(levels));
  put(window, DriftFigure::kContrast, contrast);
  put(window, DriftFigure::kRed, mean_of(levels.select(1, 0)));
  put(window, DriftFigure::kGreen, mean_of(levels.select(1, 1)));
  put(window, DriftFigure::kBlue, mean_of(levels.select(1, 2)));
  put(window, DriftFigure::kSharpness, sharpness_of(levels, contrast));
}

void read_background(const at::Tensor& levels,
                     const data::Combination& asked,
                     DriftWindow& window) {
  const at::Tensor inner = interior(levels, border_width(levels.size(-1)));
  const at::Tensor background = inner.amin(0);                     // [3, h, w]
  const at::Tensor tint = background.mean(at::IntArrayRef{1, 2});  // [3]
  put(window, DriftFigure::kBackground, mean_of(background));
  put(window, DriftFigure::kBackgroundContrast, spread_of(background - tint.view({3, 1, 1})));
  put(window, DriftFigure::kBackgroundTint, (tint.max() - tint.min()).item<double>());
  put(window, DriftFigure::kShapeHue, hue_error(inner - background, asked));
}

void read_border(const at::Tensor& levels, DriftWindow& window) {
  const at::Tensor truth = true_border(levels.size(-1));
  const at::Tensor error = (std::get<0>(levels.median(0)) - truth).abs();
  put(window, DriftFigure::kBorderError, mean_of(error.masked_select(truth.isfinite())));
}

void read_traits(const at::Tensor& window_F3HW, DriftWindow& window) {
  const ChunkTraits traits =
      read_chunk_traits(window_F3HW, window.shown.colour, {window_F3HW.size(0)}).front();
  put(window, DriftFigure::kSize, traits.size);
  put(window, DriftFigure::kSpeed, traits.speed);
  put(window, DriftFigure::kShapeBrightness, traits.texture[0]);
  double slopes = 0;
  for (size_t i = 1; i < 4; ++i) slopes += traits.texture[i] * traits.texture[i] / 3;
  put(window, DriftFigure::kShapeContrast, std::sqrt(slopes));
}

}  // namespace

DriftWindow read_drift_window(const at::Tensor& window_F3HW, const data::Combination& asked) {
  TORCH_CHECK(window_F3HW.dim() == 4 && window_F3HW.size(0) >= 2,
              "a window is [F >= 2, 3, H, W], got ",
              window_F3HW.sizes());
  DriftWindow window;
  const at::Tensor levels = levels_of(window_F3HW);
  read_levels(levels, window);
  read_background(levels, asked, window);
  read_border(levels, window);
  window.shown = read_shape(window_F3HW);
  window.presence = read_presence(window_F3HW, window.shown.colour);
  read_traits(window_F3HW, window);
  const Motion motion = measure_motion(window_F3HW, {window_F3HW.size(0)});
  put(window, DriftFigure::kMotion, motion.amount);
  put(window, DriftFigure::kSmoothness, motion.smoothness);
  return window;
}

}  // namespace vmla::analysis
