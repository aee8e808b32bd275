#include "analysis/video/drift_window.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

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

// Levels in fp64, [F, 3, H, W]: 0 the dark background, 1 full intensity.
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

int64_t border_width(int64_t side) {
  return static_cast<int64_t>(std::ceil(data::kBorderWidth * static_cast<double>(side)));
}

at::Tensor interior(const at::Tensor& levels, int64_t border) {
  const int64_t inner = levels.size(-1) - 2 * border;
  return levels.narrow(-1, border, inner).narrow(-2, border, inner);
}

// The border's true levels, [3, H, W]; NaN inside. Left and right span the whole height.
at::Tensor true_border(int64_t side) {
  const int64_t width = border_width(side);
  at::Tensor border = at::full({3, side, side}, NAN, at::kDouble);
  const auto paint = [&](at::Tensor part, int place) {
    const auto colour = static_cast<size_t>(data::kBorderColour.at(static_cast<size_t>(place)));
    for (int64_t c = 0; c < 3; ++c) {
      part[c].fill_(data::kBorderIntensity *
                    data::kColourChannels.at(colour).at(static_cast<size_t>(c)));
    }
  };
  paint(border.narrow(1, 0, width), 2);
  paint(border.narrow(1, side - width, width), 3);
  paint(border.narrow(2, 0, width), 0);
  paint(border.narrow(2, side - width, width), 1);
  return border;
}

// Angle between the colour of what moves (as shape_reader weighs it) and the asked one.
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

double sharpness_of(const at::Tensor& levels, double contrast) {
  if (contrast <= 0) return 0;
  return 0.5 * (mean_of(levels.diff(1, -1).abs()) + mean_of(levels.diff(1, -2).abs())) / contrast;
}

}  // namespace

DriftWindow read_drift_window(const at::Tensor& window_F3HW, const data::Combination& asked) {
  TORCH_CHECK(window_F3HW.dim() == 4 && window_F3HW.size(0) >= 2,
              "a window is [F >= 2, 3, H, W], got ",
              window_F3HW.sizes());
  DriftWindow window;
  const auto put = [&](DriftFigure figure, double value) {
    window.values[static_cast<size_t>(figure)] = value;
  };
  const at::Tensor levels = levels_of(window_F3HW);
  const int64_t side = levels.size(-1), frames = levels.size(0), border = border_width(side);
  const double contrast = spread_of(levels);
  put(DriftFigure::kBrightness, mean_of(levels));
  put(DriftFigure::kContrast, contrast);
  put(DriftFigure::kRed, mean_of(levels.select(1, 0)));
  put(DriftFigure::kGreen, mean_of(levels.select(1, 1)));
  put(DriftFigure::kBlue, mean_of(levels.select(1, 2)));
  put(DriftFigure::kSharpness, sharpness_of(levels, contrast));

  const at::Tensor inner = interior(levels, border);
  const at::Tensor background = inner.amin(0);                     // [3, h, w]
  const at::Tensor tint = background.mean(at::IntArrayRef{1, 2});  // [3]
  put(DriftFigure::kBackground, mean_of(background));
  put(DriftFigure::kBackgroundContrast, spread_of(background - tint.view({3, 1, 1})));
  put(DriftFigure::kBackgroundTint, (tint.max() - tint.min()).item<double>());
  const at::Tensor truth = true_border(side);
  const at::Tensor error = (std::get<0>(levels.median(0)) - truth).abs();
  put(DriftFigure::kBorderError, mean_of(error.masked_select(truth.isfinite())));

  window.shown = read_shape(window_F3HW);
  const ChunkTraits traits = read_chunk_traits(window_F3HW, window.shown.colour, {frames}).front();
  put(DriftFigure::kSize, traits.size);
  put(DriftFigure::kSpeed, traits.speed);
  put(DriftFigure::kShapeBrightness, traits.texture[0]);
  double slopes = 0;
  for (size_t i = 1; i < 4; ++i) slopes += traits.texture[i] * traits.texture[i] / 3;
  put(DriftFigure::kShapeContrast, std::sqrt(slopes));
  put(DriftFigure::kShapeHue, hue_error(inner - background, asked));

  const Motion motion = measure_motion(window_F3HW, {frames});
  put(DriftFigure::kMotion, motion.amount);
  put(DriftFigure::kSmoothness, motion.smoothness);
  return window;
}

}  // namespace vmla::analysis
