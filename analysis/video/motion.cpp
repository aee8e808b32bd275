#include "analysis/video/motion.h"

#include <ATen/ATen.h>

#include <set>

namespace vmla::analysis {

Motion measure_motion(const at::Tensor& clip_F3HW, const std::vector<int64_t>& chunk_frames) {
  TORCH_CHECK(clip_F3HW.dim() == 4, "a clip is [F, 3, H, W], got ", clip_F3HW.sizes());
  const at::Tensor clip = clip_F3HW.detach().to(at::kCPU, at::kFloat);
  const int64_t frames = clip.size(0);
  Motion motion;
  motion.smoothness = 1;
  if (frames < 2) return motion;
  const at::Tensor step = clip.narrow(0, 1, frames - 1) - clip.narrow(0, 0, frames - 1);
  const at::Tensor size = step.abs().mean(at::IntArrayRef{1, 2, 3}).to(at::kDouble);  // [F-1]
  motion.amount = size.mean().item<double>();
  if (frames >= 3 && motion.amount > 0) {
    const at::Tensor change = step.narrow(0, 1, frames - 2) - step.narrow(0, 0, frames - 2);
    motion.smoothness = 1 - change.abs().mean().item<double>() / (2 * motion.amount);
  }

  std::set<int64_t> starts;  // first frames of chunks 1, 2, ...
  int64_t start = 0;
  for (const int64_t length : chunk_frames) starts.insert(start += length);
  struct Steps {
    double sum = 0;
    double count = 0;
    double mean() const { return sum / count; }
  };
  Steps across, within;
  for (int64_t f = 1; f < frames; ++f) {
    Steps& steps = starts.contains(f) ? across : within;
    steps.sum += size[f - 1].item<double>();
    steps.count += 1;
  }
  if (across.count > 0 && within.sum > 0) motion.border_jump = across.mean() / within.mean();
  return motion;
}

}  // namespace vmla::analysis
