#pragma once

#include "model/network/kv_cache.h"
#include "model/network/plan_cache.h"
#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <vector>

/// The rollout of self-forcing (docs/algorithms.md 10.2): the student generates a clip chunk by
/// chunk against its own cache, and every chunk stops at one drawn step, the exit step, whose x0
/// prediction is its output and what is trained.
namespace vmla::model {

/// The timesteps of a chunk's passes (as the network sees them, descending) and the index of the
/// last pass that is run.
struct ExitSchedule {
  std::vector<double> timesteps;
  int64_t exit_index = 0;
};

struct SelfRolloutRequest {
  at::Tensor text_BTE;
  at::Tensor noise_BFCHW;          // whole chunks
  at::Tensor renoise_KBFCHW;       // draw k re-noises after pass k
  ExitSchedule schedule;           // of every chunk but the first
  ExitSchedule first_schedule;     // of the first chunk
  double context_timestep = 0;     // of the pass that fills the cache
  double context_sigma = 0;        // noise that pass gets; 0: none
  at::Tensor context_noise_BFCHW;  // used when context_sigma > 0
  double sigma(double timestep) const;
  std::vector<double> quantized_sigmas;  // descending; empty: sigma = t / 1000
};

/// What a chunk's exit pass was given: enough to run it again with gradients.
struct ExitPass {
  int64_t first_frame = 0;
  at::Tensor noisy_BFCHW;
  double timestep = 0, sigma = 0;
  KvWindow window;                     // views of the rollout's append-only cache
  const PreparedPlan* plan = nullptr;  // of the PlanCache
};

struct SelfRollout {
  at::Tensor latents_BFCHW;
  std::vector<ExitPass> passes;  // one a chunk, in order
};

/// Rolls out without gradients. The cache is append-only and lives as long as the passes' windows.
SelfRollout self_rollout(const Network& network,
                         const SelfRolloutRequest& request,
                         PlanCache& plans);

/// A chunk's output once more, differentiable in the weights: the window is an immutable input, no
/// gradient goes through it, so chunks can be replayed one at a time, in any order.
at::Tensor replay_exit_pass(const Network& network,
                            const ExitPass& pass,
                            const at::Tensor& text_BTE,
                            const ForwardOptions& options);

/// The whole rollout in one graph, as the published code back-propagates (docs/algorithms.md 10.4):
/// a cached key has the value of the context pass and the gradient of the chunk's exit pass, so
/// later chunks reach earlier ones. Chunks before `first_gradient_frame` carry no gradient. Memory
/// grows with the rollout.
at::Tensor self_rollout_straight_through(const Network& network,
                                         const SelfRolloutRequest& request,
                                         PlanCache& plans,
                                         int64_t first_gradient_frame,
                                         const ForwardOptions& options);

}  // namespace vmla::model
