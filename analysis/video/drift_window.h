#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "data/synth/moving_shapes.h"

namespace vmla::analysis {

/// What can drift over a long video. Levels are counted from the dark background (0) to a channel
/// at full intensity (1), as in foreground.h.
enum class DriftFigure : size_t {
  kBrightness,  // mean level
  kContrast,    // standard deviation of the levels over pixels, frames and channels
  kRed,         // mean level of a channel
  kGreen,
  kBlue,
  kBackground,          // mean level of the background (time minimum, without border)
  kBackgroundContrast,  // its standard deviation over pixels
  kBackgroundTint,      // largest minus smallest channel mean of it
  kBorderError,         // mean distance of the border's time median from its true levels
  kShapeBrightness,     // level of the shape's surface in the middle
  kShapeContrast,       // root mean square of its slopes across, down and twist
  kShapeHue,            // angle in RGB between what moves and the caption's colour, radians
  kSize,                // square root of the shape's area, fraction of the side
  kSpeed,               // fraction of the side a frame
  kSharpness,           // mean difference of neighbouring pixels / contrast
  kMotion,              // mean |x_{t+1} - x_t| of a range of 2, as in motion.h
  kSmoothness,          // as in motion.h
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

/// One stretch of one video.
struct DriftWindow {
  std::array<double, kDriftFigures> values{};
  data::Combination shown;
  double operator[](DriftFigure figure) const { return values[static_cast<size_t>(figure)]; }
};

/// Reads a window of a clip that was to show `asked`. `window_F3HW`: fp32 in [-1, 1], H = W >= 8,
/// two frames or more; long enough that the shape leaves every pixel once, which takes about the
/// length of a training clip. Non-finite pixels count as dark.
DriftWindow read_drift_window(const at::Tensor& window_F3HW, const data::Combination& asked);

}  // namespace vmla::analysis
