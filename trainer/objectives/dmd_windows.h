#pragma once

#include "model/codec/video_codec.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::trainer {

/// Frames of a rollout that the scores see as one clip. A window that does not begin with the
/// rollout has one frame in front that stands for everything before it (docs/algorithms.md 10.7),
/// and its first chunk is not trained. Frames are latent frames, counted from the rollout's first.
struct ScoredWindow {
  /// [begin, end) are scored as they are.
  int64_t begin = 0, end = 0;
  /// A re-encoded front frame stands before them.
  bool has_front = false;
  /// [gradient_begin, end) are trained.
  int64_t gradient_begin = 0;
  /// What the scores see: a clip's length, or a shorter rollout's.
  int64_t frames() const { return end - begin + (has_front ? 1 : 0); }
};

/// The windows of a rollout of `rollout_frames` where a clip has `clip_frames` and the first
/// `untrained` frames of a later window are not trained: the last window alone, or all of them, one
/// after another, so that every frame is trained once. One window where the rollout is no longer
/// than a clip.
std::vector<ScoredWindow> scored_windows(int64_t rollout_frames,
                                         int64_t clip_frames,
                                         int64_t untrained,
                                         bool all);

/// The latents that the scores see of a window, [B, frames, C, H, W]. The front frame is the last
/// pixel frame before the window, encoded as a video of one frame: the rollout is decoded up to
/// there where it lies, frame after frame, so that no more than the codec's memory of the past is
/// held. `codec` may be null where no window has a front frame, and in a plan.
at::Tensor window_latents(const ScoredWindow& window,
                          const at::Tensor& rollout_BFCHW,
                          const model::VideoCodec* codec);

}  // namespace vmla::trainer
