#pragma once

#include "model/codec/video_codec.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::trainer {

/// Frames of a rollout that the scores see as one clip. A window that does not start with the
/// rollout has one frame in front that stands for everything before (docs/algorithms.md 10.7), and
/// its first chunk is not trained.
struct ScoredWindow {
  int64_t begin = 0, end = 0;  // rollout frames that are scored as they are
  bool has_front = false;      // a re-encoded frame stands before them
  int64_t gradient_begin = 0;  // rollout frames [gradient_begin, end) are trained
  int64_t frames() const { return end - begin + (has_front ? 1 : 0); }
};

/// The windows of a rollout of `rollout_frames` when a clip has `clip_frames` and the first
/// `untrained` frames of a later window are not trained: the last window alone, or all of them, one
/// after another, so that every frame is trained once.
std::vector<ScoredWindow> scored_windows(int64_t rollout_frames,
                                         int64_t clip_frames,
                                         int64_t untrained,
                                         bool all);

/// The window's latents [B, frames, C, H, W]. The front frame is the last pixel frame before the
/// window, encoded as a video of one frame. `codec` may be null when no window has a front frame.
at::Tensor window_latents(const ScoredWindow& window,
                          const at::Tensor& rollout_BFCHW,
                          const model::VideoCodec* codec);

}  // namespace vmla::trainer
