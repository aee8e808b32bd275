#pragma once

#include "model/sampling/rollout.h"
#include "tests/model/tiny_network.h"

/// Videos of the tiny network, and the same videos without a cache.
namespace vmla::model {

/// Noise that depends on the frame alone, a prompt and a negative prompt.
RolloutRequest tiny_rollout(const ModelConfig& config, int64_t num_frames);

/// Four steps of the many-step samplers, or of the default list.
SamplerSettings tiny_sampler(SamplerKind kind, double guidance = 1.0);

std::vector<RolloutChunk> sampled_chunks(const Network& network,
                                         const RolloutRequest& request,
                                         const SamplerSettings& sampler);
at::Tensor sampled_video(const Network& network,
                         const RolloutRequest& request,
                         const SamplerSettings& sampler);

/// What follows `past_BFCHW` (may have no frames), up to request.num_frames, without a cache: every
/// pass runs the clean past and the chunk under the teacher-forcing mask, each prompt on its own.
/// Frame f takes the noise of frame f + `noise_offset`. Returns past and continuation.
at::Tensor continued_without_cache(const Network& network,
                                   const RolloutRequest& request,
                                   const SamplerSettings& sampler,
                                   const at::Tensor& past_BFCHW,
                                   int64_t noise_offset = 0);

/// No frames yet.
at::Tensor no_past(const ModelConfig& config);

/// Rounding of 1e-15 passes through some twenty network calls, each of which enlarges it by a few;
/// guidance does too.
constexpr double kRolloutTolerance = 1e-9;
double relative_difference(const at::Tensor& a, const at::Tensor& b);

}  // namespace vmla::model
