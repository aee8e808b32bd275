#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainer/config/role.h"

namespace vmla::trainer {

/// What an objective reads from a dataset: clips, clips with stored states of ODE paths, or prompts
/// alone (a dataset of clips serves too).
enum class LearnsFrom { kClips, kOdePairs, kPrompts };

/// The steps of a student that needs few of them, before the timestep shift (docs/algorithms.md 7.3).
struct FewStepSchedule {
  std::vector<double> denoising_step_list;
  /// The first chunk's own steps; empty: the same.
  std::vector<double> first_chunk_denoising_step_list = {};
  /// Timestep at which a finished chunk fills the cache.
  double context_noise = 0.0;
};

/// Everything about an objective that others need to know: validation, the planner, the loader, the
/// sampler and the loop read it here and ask for no names. Each configuration struct of
/// objective_config.h states its own.
struct ObjectiveTraits {
  /// The generator first.
  std::vector<Role> roles;
  /// Whether the generator is trained, and hence sampled, chunk by chunk.
  bool causal = true;
  LearnsFrom learns_from = LearnsFrom::kClips;
  /// Shift of the noise schedule, which samplers use too.
  double timestep_shift = 1;
  /// The prompt whose embedding evaluate() gets as `negative_text`; none: no guidance in training.
  std::optional<std::string> negative_prompt = std::nullopt;
  /// What a few-step student is sampled with; none: the objective trains a many-step model.
  std::optional<FewStepSchedule> few_step = std::nullopt;
  /// Latent frames of the longest rollout that is drawn; 0: a clip's.
  int64_t max_rollout_frames = 0;
};

}  // namespace vmla::trainer
