#include "tests/model/tiny_rollout.h"

#include <ATen/ATen.h>

namespace vmla::model {

RolloutRequest tiny_rollout(const ModelConfig& config, int64_t num_frames) {
  RolloutRequest r;
  r.text_BTE = draw("prompt", {1, 3, config.text_dim});
  r.negative_text_1TE = draw("negative", {1, 2, config.text_dim});
  r.num_frames = num_frames;
  r.latent_height = kTinyHeight;
  r.latent_width = kTinyWidth;
  const std::vector<int64_t> frame_shape = {1, config.in_dim, kTinyHeight, kTinyWidth};
  r.frame_noise = [=](int64_t frame) { return draw("frame" + std::to_string(frame), frame_shape); };
  r.frame_renoise = [=](int64_t frame, int64_t k) {
    return draw("again" + std::to_string(100 * k + frame), frame_shape);
  };
  return r;
}

SamplerSettings tiny_sampler(SamplerKind kind, double guidance) {
  SamplerSettings s;
  s.kind = kind;
  s.steps = 4;
  s.guidance_scale = guidance;
  return s;
}

std::vector<RolloutChunk> sampled_chunks(const Network& network,
                                         const RolloutRequest& request,
                                         const SamplerSettings& sampler) {
  std::vector<RolloutChunk> emitted;
  sample_causal(network, request, sampler, [&](const RolloutChunk& c) { emitted.push_back(c); });
  return emitted;
}

at::Tensor sampled_video(const Network& network,
                         const RolloutRequest& request,
                         const SamplerSettings& sampler) {
  std::vector<at::Tensor> parts;
  for (const RolloutChunk& chunk : sampled_chunks(network, request, sampler)) {
    parts.push_back(chunk.latents_BFCHW);
  }
  return at::cat(parts, 1);
}

at::Tensor continued_without_cache(const Network& network,
                                   const RolloutRequest& request,
                                   const SamplerSettings& sampler,
                                   const at::Tensor& past_BFCHW,
                                   int64_t noise_offset) {
  at::Tensor past = past_BFCHW;
  int64_t first = 0;
  for (const int64_t count : chunk_sizes(network.config, request.num_frames)) {
    if (first < past_BFCHW.size(1)) {
      first += count;
      continue;
    }
    const auto stack = [&](const std::function<at::Tensor(int64_t)>& frame) {
      std::vector<at::Tensor> frames;
      for (int64_t i = 0; i < count; ++i) frames.push_back(frame(first + noise_offset + i));
      return at::stack(frames, 1);
    };
    const PreparedPlan plan =
        prepared(network.config, teacher_forcing_plan(network.config, first + count));
    const auto flow = [&](const at::Tensor& x, double t, const at::Tensor& text) {
      // No frame attends to the noisy versions of the past here.
      const at::Tensor frames = at::cat({past, x}, 1);
      const DitInputs noisy = {frames, at::full({1, first + count}, t, at::kDouble), text};
      return teacher_forcing_forward(network, frames, noisy, plan, {}).narrow(1, first, count);
    };
    const auto velocity = [&](const at::Tensor& x, double t) {
      const at::Tensor positive = flow(x, t, request.text_BTE);
      if (sampler.guidance_scale == 1.0) return positive;
      const at::Tensor negative = flow(x, t, request.negative_text_1TE);
      return negative + sampler.guidance_scale * (positive - negative);
    };
    const auto fresh = [&](int64_t k) {
      return stack([&](int64_t frame) { return request.frame_renoise(frame, k); });
    };
    past = at::cat({past, solve_flow(sampler, stack(request.frame_noise), velocity, fresh)}, 1);
    first += count;
  }
  return past;
}

at::Tensor no_past(const ModelConfig& config) {
  return at::empty({1, 0, config.in_dim, kTinyHeight, kTinyWidth}, at::kDouble);
}

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return max_difference(a, b) / b.abs().max().item<double>();
}

}  // namespace vmla::model
