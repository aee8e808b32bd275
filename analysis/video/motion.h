#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::analysis {

/// How a clip moves; needs no knowledge of what it shows.
struct Motion {
  double amount = 0;  // mean |x_{t+1} - x_t| over pixels and frames, of a range of 2 ([-1, 1])
  double smoothness =
      0;  // 1 - mean |x_{t+1} - 2 x_t + x_{t-1}| / (2 amount): 1 is steady change, 0 flicker
  double border_jump =
      0;  // mean |difference| across chunk borders / within chunks; 1 is seamless, 0: unknown
};

/// `clip_F3HW`: [F, 3, H, W], fp32 in [-1, 1]. `chunk_frames`: the chunks' lengths from frame 0.
/// A still clip has amount 0 and smoothness 1. The jump is unknown without a border or without a
/// step inside a chunk (chunks of one frame).
Motion measure_motion(const at::Tensor& clip_F3HW, const std::vector<int64_t>& chunk_frames);

}  // namespace vmla::analysis
