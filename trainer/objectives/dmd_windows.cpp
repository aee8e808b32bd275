#include "trainer/objectives/dmd_windows.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::trainer {

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
  const at::Tensor scored = rollout_BFCHW.narrow(1, window.begin, window.end - window.begin);
  if (!window.has_front) return scored;
  // A plan's tensors have sizes and no data: any frame stands for the front frame.
  if (rollout_BFCHW.is_meta()) return at::cat({scored.narrow(1, 0, 1), scored}, 1);
  TORCH_CHECK(codec, "a rollout longer than a clip needs the codec of its latents");
  std::vector<at::Tensor> fronts;
  for (const at::Tensor& video_FCHW : rollout_BFCHW.unbind(0)) {
    const at::Tensor pixels =
        codec->decode(video_FCHW.narrow(0, 0, window.begin).to(at::kCPU, at::kFloat));
    fronts.push_back(codec->encode(pixels.narrow(0, pixels.size(0) - 1, 1)));
  }
  return at::cat({at::stack(fronts).to(scored.options()), scored}, 1);
}

}  // namespace vmla::trainer
