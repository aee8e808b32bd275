#include "trainer/objectives/dmd_windows.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace vmla::trainer {
namespace {

/// The last pixel frame of a video, [1, 3, H, W].
at::Tensor last_pixel_frame(const model::VideoCodec& codec, const at::Tensor& latents_FCHW) {
  const at::NoGradGuard no_grad;
  // From the fifth frame on every layer of a VAE has its past, and each frame needs the same
  // memory: a plan, whose frames have no values, decodes no more.
  constexpr int64_t kFramesOfPlan = 5;
  const int64_t frames =
      latents_FCHW.is_meta() ? std::min(latents_FCHW.size(0), kFramesOfPlan) : latents_FCHW.size(0);
  const auto decoder = codec.start_decoding();
  at::Tensor pixels;
  for (int64_t f = 0; f < frames; ++f) {
    pixels.reset();  // before the next ones are made
    pixels = decoder->next(latents_FCHW.narrow(0, f, 1).to(at::kFloat));
  }
  return pixels.narrow(0, pixels.size(0) - 1, 1);
}

}  // namespace

std::vector<ScoredWindow> scored_windows(int64_t rollout_frames,
                                         int64_t clip_frames,
                                         int64_t untrained,
                                         bool all) {
  if (rollout_frames <= clip_frames) return {{0, rollout_frames, false, 0}};
  // A window that ends at `end`: a front frame and the last clip_frames - 1 frames. Of its
  // clip_frames the first `untrained`, front included, are not trained, nor what windows before
  // have trained.
  const auto later = [&](int64_t end, int64_t trained_from) {
    return ScoredWindow{end - (clip_frames - 1),
                        end,
                        true,
                        std::max(end - (clip_frames - untrained), trained_from)};
  };
  if (!all) return {later(rollout_frames, 0)};
  std::vector<ScoredWindow> windows = {{0, clip_frames, false, 0}};
  // Each goes on by as many frames as a window trains; the last one ends with the rollout, and
  // overlaps the one before it further.
  while (windows.back().end < rollout_frames) {
    const int64_t done = windows.back().end;
    windows.push_back(later(std::min(done + clip_frames - untrained, rollout_frames), done));
  }
  return windows;
}

at::Tensor window_latents(const ScoredWindow& window,
                          const at::Tensor& rollout_BFCHW,
                          const model::VideoCodec* codec) {
  at::Tensor scored = rollout_BFCHW.narrow(1, window.begin, window.end - window.begin);
  if (!window.has_front) return scored;
  // A plan may not know the codec: any frame has the size of the front frame.
  if (!codec && rollout_BFCHW.is_meta()) return at::cat({scored.narrow(1, 0, 1), scored}, 1);
  TORCH_CHECK(codec, "a rollout longer than a clip needs the codec of its latents");
  std::vector<at::Tensor> fronts;
  for (const at::Tensor& video_FCHW : rollout_BFCHW.unbind(0)) {
    fronts.push_back(
        codec->encode(last_pixel_frame(*codec, video_FCHW.narrow(0, 0, window.begin))));
  }
  return at::cat({at::stack(fronts).to(scored.options()), scored}, 1);
}

}  // namespace vmla::trainer
