#pragma once

#include "model/flow_solver.h"
#include "model/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <functional>

namespace vmla::model {

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
};

struct RolloutChunk {
  int64_t first_frame;
  at::Tensor latents_BFCHW;
  double seconds;       // denoising passes of this chunk, its cache fill not included
  int64_t cache_bytes;  // after this chunk
};

/// Samples chunk by chunk (algorithms 9.1, 9.2): each chunk is denoised against the cache, handed
/// to `emit`, then run once more at t = 0 to fill the cache. Memory does not grow with the video
/// when the model has a window. Positive and negative prompt run as one batch of 2B.
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
