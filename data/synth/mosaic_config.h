#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace vmla::data {

/// The mosaic: a static random ground behind the moving shapes (data/synth/mosaic_ground.h). No
/// caption names it, so that only what a model remembers of earlier frames can keep it, and how
/// much there is to remember is set here (docs/algorithms.md 14.3). Pixel values are in [-1, 1].
struct MosaicConfig {
  int64_t cells = 8;             // a side
  std::string channels = "rgb";  // a number for each channel, or "gray": one for all three
  int64_t levels = 2;            // values that a number can have; 2: a bit
  double amplitude = 0.2;        // rms of the numbers about `level`
  double level = -0.45;          // mean of the ground
  int64_t hidden_first = 0;      // frames [hidden_first, hidden_first + hidden_frames) of a clip
  int64_t hidden_frames = 0;     // show `level` in place of the cells

  bool gray() const { return channels == "gray"; }
  bool is_hidden(int64_t frame) const {
    return frame >= hidden_first && frame < hidden_first + hidden_frames;
  }
  /// Value j of a number, of 0 ... levels - 1: evenly spaced, with the mean `level` and the rms
  /// `amplitude` about it.
  double value(int64_t j) const;
  /// The largest distance of a value from `level`.
  double peak() const { return value(levels - 1) - level; }

  bool operator==(const MosaicConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("cells", c.cells, "cells a side of the ground; 2 or more, and a divisor of the clip's side");
    v("channels",
      c.channels,
      "rgb: each cell has a number of its own in each channel; gray: one for all three");
    v("levels", c.levels, "values that a number can have; from 2 (a bit) to 16");
    v("amplitude",
      c.amplitude,
      "root mean square of the numbers about `level`, in pixel values from -1 to 1");
    v("level", c.level, "mean of the ground, in pixel values from -1 to 1");
    v("hidden_first", c.hidden_first, "first frame in which the ground is hidden");
    v("hidden_frames",
      c.hidden_frames,
      "frames for which the ground is hidden, before it is shown again; 0: it is always there");
  }
};

/// The key that cannot be as it is, and why, for clips of `frames` frames of `side` pixels a side;
/// nothing if all is well. The ground must lie between the dark level and the darkest surface of a
/// shape, so that the two can be told apart, and the cells must be whole pixels.
std::optional<std::pair<std::string, std::string>> mosaic_problem(const MosaicConfig& mosaic,
                                                                  int64_t frames,
                                                                  int64_t side);

/// What a dataset says of the scene that its clips show (docs/formats.md): JSON on one line. Empty
/// for plain moving shapes and for videos of the world.
std::string scene_text(const std::optional<MosaicConfig>& mosaic);
/// The inverse of scene_text: nothing where `text` is empty. UserError, with `place` in front, for
/// any other text that scene_text does not write.
std::optional<MosaicConfig> parse_scene(const std::string& text, const std::string& place);

}  // namespace vmla::data
