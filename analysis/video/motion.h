#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::analysis {

/// How a clip moves; needs no knowledge of what it shows. x_t is frame t, in [-1, 1]; means are
/// over pixels, channels and frames.
struct Motion {
  /// mean |x_{t+1} - x_t|: levels (of a range of 2) a frame. Neither more nor less is better: it is
  /// compared with real clips; 0 is a still picture.
  double amount = 0;
  /// 1 - mean |x_{t+1} - 2 x_t + x_{t-1}| / (2 amount): 1 where every pixel changes steadily, near
  /// 0 for flicker. Higher is smoother; clips of moving edges lie between.
  double smoothness = 0;
  /// mean |x_{t+1} - x_t| across chunk borders over that within chunks. 1 is seamless; above 1 the
  /// video jumps where a new chunk begins. 0: unknown.
  double border_jump = 0;
};

/// `clip_F3HW`: [F, 3, H, W], fp32 in [-1, 1]. `chunk_frames`: the chunks' lengths from frame 0.
/// A still clip has amount 0 and smoothness 1. The jump is unknown without a border or without a
/// step inside a chunk (chunks of one frame).
Motion measure_motion(const at::Tensor& clip_F3HW, const std::vector<int64_t>& chunk_frames);

}  // namespace vmla::analysis
