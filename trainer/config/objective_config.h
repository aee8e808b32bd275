#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "trainer/config/objective_traits.h"
#include "trainer/config/optimizer_config.h"

/// One struct for each objective: the keys of its section with their defaults, what others must
/// know of it (its traits), and the declaration of the function that makes it. Defaults and the
/// meaning of the keys are those of docs/algorithms.md 9 and 10; where a reference does otherwise
/// and a comparison with it may want that, a key switches to it. No LibTorch here.
namespace vmla::model {
struct ModelConfig;
}

namespace vmla::trainer {

class Objective;

struct FlowMatchingConfig {
  double timestep_shift = 5.0;
  bool quantized_sigma = false;

  ObjectiveTraits traits() const {
    return {.roles = {{.name = "generator"}}, .causal = false, .timestep_shift = timestep_shift};
  }
  bool operator==(const FlowMatchingConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift",
      c.timestep_shift,
      "shift s of the noise schedule: sigma = s u / (1 + (s - 1) u)");
    v("quantized_sigma",
      c.quantized_sigma,
      "look sigma up in the 1000-entry table, as the references do");
  }
};
/// Its losses: trainer/objectives/flow_matching.cpp.
std::unique_ptr<Objective> make_objective(const FlowMatchingConfig& config,
                                          const model::ModelConfig& model);

struct DiffusionForcingConfig {
  double timestep_shift = 5.0;
  bool quantized_sigma = false;

  ObjectiveTraits traits() const {
    return {.roles = {{.name = "generator"}}, .timestep_shift = timestep_shift};
  }
  bool operator==(const DiffusionForcingConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift",
      c.timestep_shift,
      "shift s of the noise schedule: sigma = s u / (1 + (s - 1) u)");
    v("quantized_sigma",
      c.quantized_sigma,
      "look sigma up in the 1000-entry table, as the references do");
  }
};
/// Its losses: trainer/objectives/diffusion_forcing.cpp.
std::unique_ptr<Objective> make_objective(const DiffusionForcingConfig& config,
                                          const model::ModelConfig& model);

struct TeacherForcingConfig {
  double timestep_shift = 5.0;
  bool quantized_sigma = false;
  int64_t noise_augmentation_max_timestep = 0;

  ObjectiveTraits traits() const {
    return {.roles = {{.name = "generator"}}, .timestep_shift = timestep_shift};
  }
  bool operator==(const TeacherForcingConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift",
      c.timestep_shift,
      "shift s of the noise schedule: sigma = s u / (1 + (s - 1) u)");
    v("quantized_sigma",
      c.quantized_sigma,
      "look sigma up in the 1000-entry table, as the references do");
    v("noise_augmentation_max_timestep",
      c.noise_augmentation_max_timestep,
      "the clean context gets noise of a timestep below this; 0: none");
  }
};
/// Its losses: trainer/objectives/teacher_forcing.cpp.
std::unique_ptr<Objective> make_objective(const TeacherForcingConfig& config,
                                          const model::ModelConfig& model);

struct OdeRegressionConfig {
  double timestep_shift = 5.0;
  std::vector<double> denoising_step_list = {1000, 750, 500, 250};
  std::string context = "teacher_forcing";

  ObjectiveTraits traits() const {
    return {.roles = {{.name = "generator"}},
            .learns_from = LearnsFrom::kOdePairs,
            .timestep_shift = timestep_shift,
            .few_step = FewStepSchedule{denoising_step_list}};
  }
  bool operator==(const OdeRegressionConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift", c.timestep_shift, "shift that warps the step list");
    v("denoising_step_list",
      c.denoising_step_list,
      "steps of the student, decreasing, before the shift; the data's ODE states lie at them");
    v("context",
      c.context,
      "teacher_forcing: clean earlier chunks, one step a video; chunk_causal: noisy earlier "
      "chunks, "
      "a step a chunk (Self-Forcing's variant)");
  }
};
/// Its losses: trainer/objectives/ode_regression.cpp.
std::unique_ptr<Objective> make_objective(const OdeRegressionConfig& config,
                                          const model::ModelConfig& model);

struct ConsistencyConfig {
  double timestep_shift = 5.0;
  int64_t discrete_cd_n = 48;
  double guidance_scale = 3.0;
  std::string negative_prompt;
  double target_ema_decay = 0.99;
  bool include_endpoint = false;
  std::vector<double> denoising_step_list = {1000, 750, 500, 250};

  ObjectiveTraits traits() const {
    return {.roles = {{.name = "generator",
                       .must_start_from = "starts from a model trained with teacher_forcing or "
                                          "diffusion_forcing"},
                      {.name = "teacher",
                       .training = Training::kFrozen,
                       .same_weights_as = "generator"},
                      {.name = "target_ema",
                       .training = Training::kEmaOf,
                       .ema_of = "generator",
                       .ema_decay = target_ema_decay}},
            .timestep_shift = timestep_shift,
            .negative_prompt = negative_prompt,
            .few_step = FewStepSchedule{denoising_step_list}};
  }
  bool operator==(const ConsistencyConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift", c.timestep_shift, "shift s of the grid and of the step list");
    v("discrete_cd_n", c.discrete_cd_n, "points of the time grid that neighbours are taken from");
    v("guidance_scale", c.guidance_scale, "of the teacher: v_neg + w (v_pos - v_neg)");
    v("negative_prompt", c.negative_prompt, "of the teacher's guidance");
    v("target_ema_decay", c.target_ema_decay, "of the moving average that makes the target");
    v("include_endpoint",
      c.include_endpoint,
      "also draw the last grid point, whose target is the teacher's clean endpoint (t' = 0)");
    v("denoising_step_list",
      c.denoising_step_list,
      "steps the student is sampled with, decreasing, before the shift");
  }
};
/// Its losses: trainer/objectives/consistency_distillation.cpp.
std::unique_ptr<Objective> make_objective(const ConsistencyConfig& config,
                                          const model::ModelConfig& model);

struct DmdConfig {
  double timestep_shift = 5.0;
  std::vector<double> denoising_step_list = {1000, 750, 500, 250};
  std::vector<double> first_chunk_denoising_step_list;
  bool last_step_only = false;
  std::string kv_grad = "detached";
  double context_noise = 0.0;
  bool quantized_sigma = false;
  int64_t min_rollout_frames = 0;
  int64_t max_rollout_frames = 0;
  std::string scored_windows = "last";
  double guidance_scale = 3.0;
  std::string negative_prompt;
  int64_t min_score_timestep = 0;
  std::array<double, 2> score_timestep_range = {20, 980};
  int64_t dfake_gen_update_ratio = 5;
  OptimizerConfig fake_score_optimizer = {.lr = 4e-7};

  ObjectiveTraits traits() const {
    return {
        .roles = {{.name = "generator", .update_every = dfake_gen_update_ratio, .rolls_out = true},
                  {.name = "real_score",
                   .training = Training::kFrozen,
                   .must_start_from = "needs the weights of a dense bidirectional model",
                   .is_score = true},
                  {.name = "fake_score",
                   .optimizer = fake_score_optimizer,
                   .same_weights_as = "real_score",
                   .is_score = true}},
        .learns_from = LearnsFrom::kPrompts,
        .timestep_shift = timestep_shift,
        .negative_prompt = negative_prompt,
        .few_step =
            FewStepSchedule{denoising_step_list, first_chunk_denoising_step_list, context_noise},
        .max_rollout_frames = std::max(min_rollout_frames, max_rollout_frames)};
  }
  bool operator==(const DmdConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift", c.timestep_shift, "shift s of the step list and of the scores' times");
    v("denoising_step_list",
      c.denoising_step_list,
      "steps of the student, decreasing, before the shift");
    v("first_chunk_denoising_step_list",
      c.first_chunk_denoising_step_list,
      "other steps for the first chunk (1- and 2-step models); empty: the same");
    v("last_step_only", c.last_step_only, "roll out to the last step always, not to a drawn one");
    v("kv_grad",
      c.kv_grad,
      "detached: no gradient through the cache, memory of one chunk; straight_through: as the "
      "published code, memory of the whole rollout");
    v("context_noise", c.context_noise, "timestep at which a finished chunk fills the cache");
    v("quantized_sigma",
      c.quantized_sigma,
      "look sigma up in the 1000-entry table, as the references do, also in the context pass");
    v("min_rollout_frames",
      c.min_rollout_frames,
      "latent frames of the shortest rollout; 0: a clip");
    v("max_rollout_frames",
      c.max_rollout_frames,
      "latent frames of the longest rollout; 0: a clip");
    v("scored_windows",
      c.scored_windows,
      "of a rollout longer than a clip: last, or all windows one after another (long tuning)");
    v("guidance_scale", c.guidance_scale, "of the real score: D_c + g (D_c - D_u)");
    v("negative_prompt", c.negative_prompt, "of the real score's guidance");
    v("min_score_timestep", c.min_score_timestep, "least tau of the scores, before the shift");
    v("score_timestep_range",
      c.score_timestep_range,
      "the scores' timesteps are clamped to this, after the shift");
    v("dfake_gen_update_ratio",
      c.dfake_gen_update_ratio,
      "updates of the fake score for one of the generator; train.steps counts the former");
    v("fake_score_optimizer", c.fake_score_optimizer, "AdamW of the fake score");
  }
};
/// Its losses: trainer/objectives/dmd.cpp.
std::unique_ptr<Objective> make_objective(const DmdConfig& config, const model::ModelConfig& model);

/// The table of objectives. The name chooses one; of the sections below only the one of that name
/// may appear in a file. A new objective is one struct above, and one member and one line here.
struct ObjectiveConfig {
  std::string name = "teacher_forcing";
  FlowMatchingConfig flow_matching;
  DiffusionForcingConfig diffusion_forcing;
  TeacherForcingConfig teacher_forcing;
  OdeRegressionConfig ode_regression;
  ConsistencyConfig consistency_distillation;
  DmdConfig dmd;

  bool operator==(const ObjectiveConfig&) const = default;
  /// Whether the field `key` takes part: read, written and compared.
  static bool active(const ObjectiveConfig& c, std::string_view key) {
    return key == "name" || key == c.name;
  }
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("name", c.name, "what is trained");
    v("flow_matching", c.flow_matching, "bidirectional flow matching");
    v("diffusion_forcing",
      c.diffusion_forcing,
      "chunk-causal flow matching, noisy chunks as context");
    v("teacher_forcing", c.teacher_forcing, "chunk-causal flow matching, clean chunks as context");
    v("ode_regression",
      c.ode_regression,
      "a few-step student regresses the teacher's ODE endpoints");
    v("consistency_distillation",
      c.consistency_distillation,
      "a few-step student is consistent along the teacher's ODE");
    v("dmd", c.dmd, "distribution matching distillation over the student's own rollouts");
  }
};

/// ConfigRuleError that lists the known objectives.
[[noreturn]] void fail_unknown_objective(const std::string& name);

/// Calls `visit(section)` with the section of the chosen objective. UserError lists the known
/// objectives where the name is none of them.
template <class Visit>
void visit_objective(const ObjectiveConfig& config, Visit&& visit) {
  bool found = false;
  ObjectiveConfig::fields(config, [&](const char* name, const auto& section, const char*) {
    if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(section)>, std::string>) {
      if (config.name != name) return;
      found = true;
      visit(section);
    }
  });
  if (!found) fail_unknown_objective(config.name);
}

/// The chosen objective's traits, and its losses. UserError as visit_objective.
ObjectiveTraits objective_traits(const ObjectiveConfig& config);
std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config,
                                          const model::ModelConfig& model);

}  // namespace vmla::trainer
