#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "data/synth/moving_shapes.h"

namespace vmla::analysis {

/// Clips of moving shapes as training sees them: rendered at 128 pixels, written as H.264, decoded
/// and resized again.
struct RealClips {
  std::vector<data::ClipSpec> specs;
  at::Tensor side16;  // [n, F, 3, 16, 16]
  at::Tensor side32;  // [n, F, 3, 32, 32]
};
inline constexpr int64_t kRealFrames = 15;

/// 120 clips of the training combinations (each twice) or 96 of the held-out ones (each eight
/// times), made once a process.
const RealClips& training_clips();
const RealClips& held_out_clips();

}  // namespace vmla::analysis
