#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vmla::trainer {

/// Frames of a video for a GIF: each [height, width, 3] bytes RGB, one row after another.
struct GifFrames {
  int width = 0, height = 0;  // 1 to 65535
  double fps = 8;             // a GIF counts hundredths of a second, 2 at least
  std::vector<std::string> rgb = {};
};

/// An animation that repeats for ever (GIF89a, with its LZW compression), which TensorBoard's image
/// page plays. Colours are those of one fixed palette, 6 levels of red, 7 of green, 6 of blue: what
/// moves where is seen, shades are not exact. Pictures whose sides are below 128 pixels are
/// enlarged by a whole factor. RunError for sizes out of range or frames of another size.
std::string gif_animation(const GifFrames& frames);

}  // namespace vmla::trainer
