#pragma once

/// Brightness in a picture of moving shapes (data/synth/moving_shapes.h).
namespace vmla::data {

/// Levels (0..255) of the background, and of a channel that is on at full intensity.
inline constexpr int kDarkLevel = 20;
inline constexpr int kBrightLevel = 250;

/// Intensity of the shape's surface: kTextureBase ± kTextureAmplitude.
inline constexpr double kTextureBase = 0.75, kTextureAmplitude = 0.25;

/// A level of 0..255 as a pixel value in [-1, 1].
constexpr double pixel_value(double level) {
  return level / 127.5 - 1.0;
}
/// The least pixel value that a shape's surface has in a channel that its colour is on in.
constexpr double darkest_surface() {
  return pixel_value(kDarkLevel + (kBrightLevel - kDarkLevel) * (kTextureBase - kTextureAmplitude));
}

}  // namespace vmla::data
