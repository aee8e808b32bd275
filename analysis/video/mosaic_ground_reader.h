#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "data/synth/mosaic_config.h"

/// Reads the ground of a mosaic (data/synth/mosaic_ground.h) back from pixels (docs/algorithms.md
/// 14.3).
namespace vmla::analysis {

/// What a chunk shows of the ground.
struct GroundReading {
  /// [numbers of the ground] in units of the amplitude, 0 where it is not read: [3, cells, cells],
  /// or [cells, cells] of a gray ground. fp64.
  at::Tensor numbers;
  /// Whether a number is read: some frame of the chunk shows its cell and the shape does not touch
  /// it there.
  at::Tensor is_read;
};

/// Reads each chunk of a clip [F, 3, H, H], fp32 in [-1, 1], H a multiple of the cells;
/// `chunk_frames` are the chunks' lengths from frame 0, those of the clip at most. A number is the
/// mean over the pixels of its cell that the border leaves free, over the frames in which the
/// ground is not hidden and no pixel in or beside the cell is brighter than the ground can be.
std::vector<GroundReading> read_ground(const at::Tensor& clip_F3HW,
                                       const std::vector<int64_t>& chunk_frames,
                                       const data::MosaicConfig& mosaic);

/// The clip as it would look before the dark background, so that what reads moving shapes
/// (shape_reader.h) reads it too. Of each pixel and channel the ground's value is taken off, its
/// mean over the frames that show it free of the shape (where there is none, the ground's mean),
/// and what is left spread over the levels from dark to full: a shape keeps its hue, its outline
/// and its way. What stands out of the ground by less than half of the amplitude, or than 2.5
/// standard deviations of what the ground strays from frame to frame, is taken for noise; but never
/// as much as a shape stands out at least.
at::Tensor without_ground(const at::Tensor& clip_F3HW, const data::MosaicConfig& mosaic);

}  // namespace vmla::analysis
