#pragma once

#include "model/network/wan_dit.h"
#include "model/sampling/flow_solver.h"
#include "model/sampling/prompt_switch.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace vmla::model {

/// UserError if a video of `num_frames` latent frames needs more positions than there are: one that
/// is longer than 1024 frames and sees all of them. With a window positions are ranks in it, and
/// the video may be of any length.
void check_rollout_length(const ModelConfig& config, int64_t num_frames);

/// From this latent frame on, which begins a chunk, the video follows another prompt.
struct PromptChange {
  int64_t first_frame;
  at::Tensor text_BTE;
};

/// What is sampled. Prompts of one batch share the frame count; B = 1 makes a prompt's video
/// independent of others to the bit.
struct RolloutRequest {
  at::Tensor text_BTE;           // one prompt a sample
  at::Tensor negative_text_1TE;  // for guidance; may be undefined with guidance 1
  int64_t num_frames = 0;        // latent frames; whole chunks
  int64_t latent_height = 0, latent_width = 0;
  /// Initial noise of one latent frame, [B, C, H, W]: keyed by the frame, so that a longer video
  /// begins alike.
  std::function<at::Tensor(int64_t frame)> frame_noise;
  /// Noise of the k-th re-noising of one frame, likewise.
  std::function<at::Tensor(int64_t frame, int64_t k)> frame_renoise;
  bool erase_cache = false;  // zero the cache before every chunk: what is left is what the model
                             // knows without memory
  std::vector<PromptChange> prompt_changes;  // ascending; of chunk-wise sampling only
  PromptSwitch prompt_switch = PromptSwitch::kFlush;
};

struct RolloutChunk {
  int64_t first_frame;
  at::Tensor latents_BFCHW;
  double seconds;        // denoising passes of this chunk
  double cache_seconds;  // before them, since the last chunk: its cache fill, a prompt's switch
  int64_t cache_bytes;   // of the cache this chunk was denoised against
};

/// Samples chunk by chunk (docs/algorithms.md 8.5): each chunk is denoised against the cache,
/// handed to `emit`, then run once more (at t = context_noise) to fill the cache; the last one is
/// not. Memory does not grow with the video when the model has a window. With guidance, the
/// positive and the negative prompt run as one batch of 2B; without, a step is one pass of B.
void sample_causal(const Network& network,
                   const RolloutRequest& request,
                   const SamplerSettings& sampler,
                   const std::function<void(const RolloutChunk&)>& emit);

/// Samples all frames at once with full attention, as the dense bidirectional model was trained:
/// one chunk.
RolloutChunk sample_bidirectional(const Network& network,
                                  const RolloutRequest& request,
                                  const SamplerSettings& sampler);

}  // namespace vmla::model
