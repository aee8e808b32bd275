#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/config/role.h"

namespace vmla::trainer {

/// What an objective reads from a dataset: clips, clips with stored states of ODE paths
/// (docs/algorithms.md 9.4), or prompts alone (a dataset of clips works too; its latents are
/// ignored).
enum class LearnsFrom { kClips, kOdePairs, kPrompts };

/// The denoising steps of a few-step student: timesteps in (0, 1000], decreasing, before the
/// timestep shift (docs/algorithms.md 7.3).
struct FewStepSchedule {
  std::vector<double> denoising_step_list;
  /// The first chunk's own steps, where it has others; empty: the same.
  std::vector<double> first_chunk_denoising_step_list = {};
  /// Timestep at which a finished chunk fills the cache (docs/algorithms.md 6.3).
  double context_noise = 0.0;
};

/// Everything about an objective that others need to know. Validation, planner, loader, sampler and
/// loop read it here and never compare an objective's name. Each configuration struct of
/// objective_config.h states its own.
struct ObjectiveTraits {
  /// The networks it needs, the generator first. A step updates the trained ones in this order.
  std::vector<Role> roles;
  /// Whether the generator is trained, and hence sampled, chunk by chunk; otherwise every frame
  /// sees all frames.
  bool causal = true;
  LearnsFrom learns_from = LearnsFrom::kClips;
  /// Shift s of the noise schedule, sigma = s u / (1 + (s - 1) u); samplers use it too.
  double timestep_shift = 1;
  /// The prompt whose embedding evaluate() gets as `negative_text`; none: the objective does not
  /// guide in training.
  std::optional<std::string> negative_prompt = std::nullopt;
  /// The steps that a few-step student is sampled with; none: the objective trains a many-step
  /// model.
  std::optional<FewStepSchedule> few_step = std::nullopt;
  /// Latent frames of the longest rollout that may be drawn; 0: a clip's.
  int64_t max_rollout_frames = 0;
};

}  // namespace vmla::trainer
