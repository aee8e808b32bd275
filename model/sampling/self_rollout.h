#pragma once

#include "model/network/kv_cache.h"
#include "model/network/plan_cache.h"
#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <vector>

/// The rollout of self-forcing (docs/algorithms.md 10.2). The student generates a clip chunk by
/// chunk against its own cache. Every chunk stops at a drawn step, the exit step; the x0 prediction
/// of that step is the chunk's output, and what is trained.
namespace vmla::model {

/// The timesteps of a chunk's passes, descending and after the shift, and the index of the last
/// pass that is run, the exit pass.
struct ExitSchedule {
  std::vector<double> timesteps;
  int64_t exit_index = 0;
};

struct SelfRolloutRequest {
  at::Tensor text_BTE;
  at::Tensor noise_BFCHW;                // whole chunks
  at::Tensor renoise_KBFCHW;             // draw k is the noise after pass k
  ExitSchedule schedule;                 // of every chunk but the first
  ExitSchedule first_schedule;           // of the first chunk
  double context_timestep = 0;           // of the context pass, which fills the cache
  double context_sigma = 0;              // of the noise that its latents get; 0: none
  at::Tensor context_noise_BFCHW;        // used when context_sigma > 0
  std::vector<double> quantized_sigmas;  // the table sigma is taken from; empty: sigma = t / 1000
  double sigma(double timestep) const;
};

/// The inputs of a chunk's exit pass: enough to run it again with gradients.
struct ExitPass {
  int64_t first_frame = 0;
  at::Tensor noisy_BFCHW;
  double timestep = 0, sigma = 0;
  KvWindow window;                     // views of the rollout's append-only cache
  const PreparedPlan* plan = nullptr;  // owned by the rollout's PlanCache
};

struct SelfRollout {
  at::Tensor latents_BFCHW;
  std::vector<ExitPass> passes;  // one a chunk, in order
};

/// Rolls out without gradients. The passes' windows keep the append-only cache alive; their plans
/// belong to `plans`, which must outlive them.
SelfRollout self_rollout(const Network& network,
                         const SelfRolloutRequest& request,
                         PlanCache& plans);

/// A chunk's output again, differentiable in the weights as `options` say. The window is a
/// constant: no gradient flows into it, so that chunks can be replayed one at a time and in any
/// order.
at::Tensor replay_exit_pass(const Network& network,
                            const ExitPass& pass,
                            const at::Tensor& text_BTE,
                            const ForwardOptions& options);

/// The whole rollout as one graph, which is how the published code back-propagates
/// (docs/algorithms.md 10.4). Cached keys and values have the values of the context pass and the
/// gradient of the chunk's exit pass, so that gradients of later chunks reach earlier ones. Chunks
/// before `first_gradient_frame` carry no gradient. Memory grows with the rollout.
at::Tensor self_rollout_straight_through(const Network& network,
                                         const SelfRolloutRequest& request,
                                         PlanCache& plans,
                                         int64_t first_gradient_frame,
                                         const ForwardOptions& options);

}  // namespace vmla::model
