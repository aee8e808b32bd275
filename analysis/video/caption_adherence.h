#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/video/presence.h"
#include "data/synth/moving_shapes.h"

/// Caption adherence: does a clip show the colour, the form and the direction that its caption
/// names? The counterpart, for moving shapes, of the attribute checks of text-to-video benchmarks
/// (T2V-CompBench, arXiv 2407.14505); here rules read the pixels, no network does.
namespace vmla::analysis {

/// A clip and the caption it was made for.
struct CaptionedClip {
  at::Tensor pixels_F3HW;  // fp32 in [-1, 1]
  std::string caption;
  /// [F, C, H, W], where they are known.
  at::Tensor latents_FCHW = {};
};

/// What one clip was to show and what it shows.
struct ClipAdherence {
  data::Combination asked;
  data::Combination shown;
  Presence presence = {};
  bool colour() const { return asked.colour == shown.colour; }
  bool shape() const { return asked.shape == shown.shape; }
  bool direction() const { return asked.direction == shown.direction; }
  /// A shape is there from the beginning to the end. Without it the other three say nothing about
  /// an object.
  bool present() const { return presence.throughout; }
};

/// Shares of clips that show what their captions say, 0..1; more is better. Chance is 1/6 for the
/// colour, 1/3 for the shape and 1/4 for the direction; real clips reach 0.99 and more.
struct Adherence {
  /// Clips with a moving-shape caption; with none the shares are 0.
  int64_t clips = 0;
  double colour = 0;
  double shape = 0;
  double direction = 0;
  /// Clips in which a shape is there throughout, and those of them whose colour, shape or direction
  /// is right. A blank clip and noise count in none of them.
  double present = 0;
  double colour_present = 0;
  double shape_present = 0;
  double direction_present = 0;
  /// Mean over the clips of Presence::area: 1 is right.
  double area = 0;
};

/// Reads one clip against its caption; nothing if the caption is not one of moving shapes.
std::optional<ClipAdherence> check_caption(const CaptionedClip& clip);

/// Shares over those clips that check_caption could read.
Adherence summarise(const std::vector<std::optional<ClipAdherence>>& clips);

}  // namespace vmla::analysis
