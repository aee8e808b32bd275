#pragma once

#include "kernels/device_span.h"
#include "model/network/wan_dit.h"
#include "model/sampling/flow_solver.h"
#include "model/sampling/prompt_switch.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace vmla::model {

/// UserError if a video of `num_frames` latent frames needs more RoPE positions than there are,
/// which is the case if it is longer than kMaxPositions frames and attends to all of them. With a
/// window, positions are ranks in the window, and a video may have any length.
void check_rollout_length(const ModelConfig& config, int64_t num_frames);

/// A change of prompt at a latent frame, which must be the first of a chunk.
struct PromptChange {
  int64_t first_frame;
  at::Tensor text_BTE;
};

/// What is sampled. All prompts of a batch get the same number of frames. A prompt's video depends
/// on the other prompts of its batch by rounding only; with B = 1, not at all.
struct RolloutRequest {
  at::Tensor text_BTE;           // one prompt a sample
  at::Tensor negative_text_1TE;  // for guidance; may be undefined with guidance 1
  int64_t num_frames = 0;        // latent frames; whole chunks
  int64_t latent_height = 0, latent_width = 0;
  /// Initial noise of one latent frame, [B, C, H, W]. A function of the frame, so that a longer
  /// video begins like a shorter one.
  std::function<at::Tensor(int64_t frame)> frame_noise;
  /// Noise of the k-th re-noising of one frame, [B, C, H, W].
  std::function<at::Tensor(int64_t frame, int64_t k)> frame_renoise;
  /// Sets the cache to zero before every chunk, to measure what it contributes.
  bool erase_cache = false;
  std::vector<PromptChange> prompt_changes;  // ascending; of chunk-wise sampling only
  PromptSwitch prompt_switch = PromptSwitch::kFlush;
  /// Called before each pass that denoises, or before a chunk whose passes are replayed, if there
  /// is one. What it throws ends the sampling.
  std::function<void()> before_pass = {};
};

struct RolloutChunk {
  int64_t first_frame;
  at::Tensor latents_BFCHW;
  /// Of the passes of this chunk; on a GPU to be asked for when it is whole.
  kernels::DeviceSpan denoising;
  /// Since the chunk before: its context pass, and a prompt's switch.
  kernels::DeviceSpan caching;
  /// Size of the cache that this chunk was denoised against.
  int64_t cache_bytes;
  /// Its passes were replayed as a CUDA graph (SamplerSettings::cuda_graph).
  bool replayed;
};

struct KeptOverVideos;

/// Samples videos one after the other. What those of one size have in common stays between them:
/// the cache's memory, what passes keep, and on a GPU the graphs of their chunks.
class CausalSampler {
 public:
  /// The network's weights must stay as they are as long as this is used.
  CausalSampler(const Network& network, const SamplerSettings& settings);
  ~CausalSampler();

  /// Samples chunk by chunk (docs/algorithms.md 8.5): each chunk is denoised against the cache,
  /// handed to `emit`, then run once more at t = context_noise to fill the cache, except for the
  /// last one. Memory does not grow with the video when the model has a window. With guidance, the
  /// positive and the negative prompt run as one batch of 2B samples.
  void sample(const RolloutRequest& request, const std::function<void(const RolloutChunk&)>& emit);

 private:
  const Network network_;
  const SamplerSettings settings_;
  std::unique_ptr<KeptOverVideos> kept_;
};

/// One video (batch) by a CausalSampler.
void sample_causal(const Network& network,
                   const RolloutRequest& request,
                   const SamplerSettings& sampler,
                   const std::function<void(const RolloutChunk&)>& emit);

/// Samples all frames at once with full attention, for a bidirectional model: one chunk.
RolloutChunk sample_bidirectional(const Network& network,
                                  const RolloutRequest& request,
                                  const SamplerSettings& sampler);

}  // namespace vmla::model
