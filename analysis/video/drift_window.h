#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "analysis/video/presence.h"
#include "data/synth/moving_shapes.h"

namespace vmla::analysis {

/// What can drift over a long video. Levels are counted from the dark background (0) to a channel
/// at full intensity (1), as in foreground.h. No figure is better high or low: each is compared
/// with real clips (drift.h).
enum class DriftFigure : size_t {
  /// Mean level.
  kBrightness,
  /// Standard deviation of the levels over pixels, frames and channels.
  kContrast,
  /// Mean level of a channel.
  kRed,
  kGreen,
  kBlue,
  /// Mean level of the background (the minimum over time, without the border).
  kBackground,
  /// The background's standard deviation over pixels.
  kBackgroundContrast,
  /// The background's largest minus its smallest channel mean.
  kBackgroundTint,
  /// Mean distance of the border's levels, their median over time, from what they should be.
  kBorderError,
  /// Level of the shape's surface in the middle.
  kShapeBrightness,
  /// Root mean square of the surface's slopes across, down and twist (surface_texture.h).
  kShapeContrast,
  /// Angle in RGB between what moves and the caption's colour, radians; 0 is right.
  kShapeHue,
  /// Square root of the shape's area, fraction of the side.
  kSize,
  /// Fraction of the side a frame.
  kSpeed,
  /// Mean difference of neighbouring pixels over the contrast; blur lowers it.
  kSharpness,
  /// Motion::amount and Motion::smoothness (motion.h).
  kMotion,
  kSmoothness,
  kCount
};
inline constexpr size_t kDriftFigures = static_cast<size_t>(DriftFigure::kCount);

/// Names as in summary.json, in the order of the enum.
inline constexpr std::array<std::string_view, kDriftFigures> kDriftFigureNames = {
    "brightness",
    "contrast",
    "red",
    "green",
    "blue",
    "background",
    "background_contrast",
    "background_tint",
    "border_error",
    "shape_brightness",
    "shape_contrast",
    "shape_hue",
    "size",
    "speed",
    "sharpness",
    "motion",
    "smoothness"};

/// One stretch of one video: its figures, what it shows (shape_reader.h), and whether a shape is
/// there at all (presence.h).
struct DriftWindow {
  std::array<double, kDriftFigures> values{};
  data::Combination shown;
  Presence presence;
  double operator[](DriftFigure figure) const { return values[static_cast<size_t>(figure)]; }
};

/// Reads a window of a clip that was to show `asked`. `window_F3HW`: fp32 in [-1, 1], H = W >= 8,
/// two frames or more; long enough that the shape leaves every pixel once, which takes about the
/// length of a training clip. Non-finite pixels count as dark.
DriftWindow read_drift_window(const at::Tensor& window_F3HW, const data::Combination& asked);

}  // namespace vmla::analysis
