#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/synth/mosaic_ground.h"
#include "data/synth/shape_levels.h"
#include "kernels/counter_rng/counter_rng.h"

/// Captioned moving shapes: the synthetic world of the tiny pipeline (docs/formats.md).
///
/// A clip shows one bright shape on a dark background. The caption names its colour, its form and
/// the direction it moves in; its size, its speed and a faint texture are not in the caption, so
/// only what a model remembers of earlier frames can keep them. In place of the dark background
/// there may be a mosaic (data/synth/mosaic_ground.h). Coordinates are fractions of the side, x to
/// the right, y down.
namespace vmla::data {

inline constexpr std::array<std::string_view, 6> kColourNames = {
    "red", "green", "blue", "yellow", "magenta", "white"};
inline constexpr std::array<std::string_view, 3> kShapeNames = {"circle", "square", "triangle"};
inline constexpr std::array<std::string_view, 4> kDirectionNames = {"left", "right", "up", "down"};
inline constexpr int kNumCombinations = 72;

/// Which of (red, green, blue) are on, by colour index.
inline constexpr std::array<std::array<int, 3>, 6> kColourChannels = {
    {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}, {1, 0, 1}, {1, 1, 1}}};
/// Unit step (x, y) of a direction.
inline constexpr std::array<std::array<int, 2>, 4> kDirectionStep = {
    {{-1, 0}, {1, 0}, {0, -1}, {0, 1}}};

/// The static border, behind the shape: its width and its intensity between dark and bright. It
/// tells a network without absolute positions where it is. Left and right span the whole height;
/// the corners belong to them.
inline constexpr double kBorderWidth = 1.0 / 16.0;
inline constexpr double kBorderIntensity = 0.5;
/// Colour index of the border at the side that a direction points to: left, right, top, bottom.
inline constexpr std::array<int, 4> kBorderColour = {0, 1, 2, 3};

/// Ranges of what the caption does not say. Size is the square root of the area, so that it tells
/// nothing about the form; travel is the way in one clip.
inline constexpr double kMinSize = 0.24, kMaxSize = 0.5;
inline constexpr double kMinTravel = 0.55, kMaxTravel = 0.95;
/// Where the shape's centre lies across its way: near the middle. Spread over the whole side, a
/// small model spends its training on where the shape is instead of on where it goes.
inline constexpr double kMinAcross = 0.45, kMaxAcross = 0.55;

/// What a caption says: indices into the lists of names above.
struct Combination {
  int colour = 0;
  int shape = 0;
  int direction = 0;
  bool operator==(const Combination&) const = default;
};

/// Combination `index` of 72, colour slowest, direction fastest.
Combination combination_at(int index);
/// True for the 12 combinations with (3·colour + 5·shape + 7·direction) mod 6 = 0, kept out of
/// training.
bool is_held_out(const Combination& what);
/// The 12 held-out combinations, or the 60 others, in the order of their indices.
std::vector<Combination> combinations(bool held_out);

/// "a red circle moves left".
std::string caption_of(const Combination& what);
/// Inverse of caption_of (any case, any white space); nothing if the text is no such caption.
std::optional<Combination> parse_caption(std::string_view caption);

/// Everything that decides a clip.
struct ClipSpec {
  Combination what;
  double size = 0.3;     // square root of the shape's area, fraction of the side
  double start_x = 0.5;  // centre (of area) at frame 0
  double start_y = 0.5;
  double speed = 0.09;  // fraction of the side a frame, along the direction
  /// Of the surface, in [-1, 1]: top left, top right, bottom left, bottom right.
  std::array<double, 4> texture = {0, 0, 0, 0};
  /// Behind the shape; null: the dark background.
  std::shared_ptr<const MosaicGround> ground = nullptr;
};

/// Where the numbers of clip `index` are drawn from (docs/algorithms.md 12.2).
kernels::DrawKey clip_key(uint64_t seed, uint64_t index, bool held_out);

/// Clip `index` of the set of clips that (seed, held_out) name: its combination is the next in
/// turn, everything else is drawn (Philox, Purpose::kSynthetic). The shape starts near the edge it
/// comes from and crosses the picture in about `clip_frames` frames, at least 2.
/// With `mosaic` the same shape stands before a ground of its own.
ClipSpec draw_clip(uint64_t seed,
                   uint64_t index,
                   bool held_out,
                   int64_t clip_frames,
                   const std::optional<MosaicConfig>& mosaic = std::nullopt);

/// Centre of the shape at frame `frame`, wrapped into [0, 1)²: it leaves at one edge and enters at
/// the opposite one, partly visible at both on the way.
std::array<double, 2> centre_at(const ClipSpec& spec, int64_t frame);

/// Draws one frame, anti-aliased: side·side·3 bytes, rows of (red, green, blue), into memory of the
/// caller.
void render_frame(const ClipSpec& spec, int64_t frame, int64_t side, uint8_t* rgb_HW3);

/// Renders clips without video files in between: [n, F, 3, side, side], fp32 in [-1, 1]. Pictures
/// of fewer than 128 pixels a side are averaged from larger ones, as resizing a real file would do.
at::Tensor render_clips(const std::vector<ClipSpec>& specs, int64_t frames, int64_t side);

}  // namespace vmla::data
