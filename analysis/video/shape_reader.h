#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "analysis/video/surface_texture.h"
#include "data/synth/moving_shapes.h"

/// Reads moving-shape clips (data/synth/moving_shapes.h) back from their pixels, at sides as small
/// as 16 (docs/algorithms.md 14.2).
///
/// Clips are [F, 3, H, W], fp32, in [-1, 1], H = W >= 8, F >= 2. What moves is found against the
/// clip's own static background, its minimum over time at every pixel and channel: a shape crosses
/// more than its own size, so every pixel is free of it at some time. The coloured border (one
/// sixteenth of the side) has no vote on colour, form or direction. Non-finite pixels count as
/// dark.
namespace vmla::analysis {

/// What a clip shows, as far as a caption can say it. Colour: nearest hue of what moves. Direction:
/// the larger component of the mean displacement, wrap-aware. Shape: the form that fits the
/// foreground best over all frames. A clip without anything bright still gets an answer (whatever
/// its noise resembles), so that chance stays 1/6, 1/3, 1/4.
data::Combination read_shape(const at::Tensor& clip_F3HW);

/// What a caption does not say, of one chunk of a clip.
struct ChunkTraits {
  /// Square root of the covered area, mean over the frames; a fraction of the side.
  double size = 0;
  /// Along the larger component of the mean displacement; fractions of the side a frame.
  double speed = 0;
  Texture texture = {};
};

/// Traits of each chunk; `chunk_frames` are the chunks' lengths, one after another from frame 0
/// (c10::Error if they exceed the clip). `colour`, an index of data::kColourNames, says which
/// channels the shape is bright in. A chunk of one frame takes its speed from the step to the next
/// frame (the last one: from the frame before).
std::vector<ChunkTraits> read_chunk_traits(const at::Tensor& clip_F3HW,
                                           int colour,
                                           const std::vector<int64_t>& chunk_frames);

}  // namespace vmla::analysis
