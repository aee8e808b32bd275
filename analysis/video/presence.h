#pragma once

#include <ATen/core/Tensor.h>

/// Whether a clip shows an object at all, before anybody asks what it is. Hue and displacement of a
/// few bright pixels can be right by chance or by a remainder of a shape; a shape that has shrunk
/// to them, or has dissolved into noise, is not what a caption asks for (docs/algorithms.md 14.2).
namespace vmla::analysis {

/// A moving shape is there in a frame if what moves covers an area that shapes have and lies
/// together: at least kLeastAreaShare of the smallest and at most kMostAreaShare of the largest
/// shape of real clips (data/synth/moving_shapes.h), and at least kLeastTogether of it inside the
/// disc of that area around its centre.
inline constexpr double kLeastAreaShare = 0.6;
inline constexpr double kMostAreaShare = 1.6;
inline constexpr double kLeastTogether = 0.6;

struct Presence {
  /// Mean over the frames of the area that what moves covers, there or not, over the mean area of
  /// shapes in real clips. 1 is right, towards 0 the shape vanishes.
  double area = 0;
  /// Share of the frames in which a shape is there, 0..1; more is better.
  double frames = 0;
  /// A shape is there in at least half of the frames of each third of the clip: at its beginning,
  /// in its middle and at its end.
  bool throughout = false;
};

/// Reads a clip [F, 3, H, W], fp32 in [-1, 1], H = W >= 8, F >= 2. `colour`, an index of
/// data::kColourNames, says which channels the shape is bright in. A picture that does not move
/// shows no moving shape. c10::Error for another shape of tensor.
Presence read_presence(const at::Tensor& clip_F3HW, int colour);

}  // namespace vmla::analysis
