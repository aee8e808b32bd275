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

/// Help of the keys that the flow-matching objectives share.
inline constexpr char kShiftHelp[] =
    "shift s > 0 of the noise schedule: sigma = s u / (1 + (s - 1) u), u drawn evenly from 0 to 1";
inline constexpr char kQuantizedSigmaHelp[] =
    "true: sigma is rounded to the nearest of 1000 values, as the reference code does";

struct FlowMatchingConfig {
  double timestep_shift = 5.0;
  bool quantized_sigma = false;

  ObjectiveTraits traits() const {
    return {.roles = {{.name = "generator"}}, .causal = false, .timestep_shift = timestep_shift};
  }
  bool operator==(const FlowMatchingConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift", c.timestep_shift, kShiftHelp);
    v("quantized_sigma", c.quantized_sigma, kQuantizedSigmaHelp);
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
    v("timestep_shift", c.timestep_shift, kShiftHelp);
    v("quantized_sigma", c.quantized_sigma, kQuantizedSigmaHelp);
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
    v("timestep_shift", c.timestep_shift, kShiftHelp);
    v("quantized_sigma", c.quantized_sigma, kQuantizedSigmaHelp);
    v("noise_augmentation_max_timestep",
      c.noise_augmentation_max_timestep,
      "the clean context gets noise of a timestep drawn from 0 to this, one per chunk; at most "
      "999; 0: none");
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
    v("timestep_shift",
      c.timestep_shift,
      "shift s > 0 that warps the step list: 1000 sigma, sigma = s u / (1 + (s - 1) u), u = step / "
      "1000");
    v("denoising_step_list",
      c.denoising_step_list,
      "timesteps of the student's denoising steps for a chunk, before the shift: decreasing, above "
      "0, at most 1000; the dataset's ODE states must lie at them");
    v("context",
      c.context,
      "what a chunk sees of the chunks before it: teacher_forcing (clean ones; one step is drawn "
      "for the whole video) or chunk_causal (noisy ones; a step is drawn for each chunk, "
      "Self-Forcing's variant)");
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
                       .same_weights_as = "generator",
                       .passes = "teacher"},
                      {.name = "target_ema",
                       .training = Training::kEmaOf,
                       .ema_of = "generator",
                       .ema_decay = target_ema_decay,
                       .passes = "target"}},
            .timestep_shift = timestep_shift,
            .negative_prompt = negative_prompt,
            .few_step = FewStepSchedule{denoising_step_list}};
  }
  bool operator==(const ConsistencyConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("timestep_shift", c.timestep_shift, "shift s > 0 of the time grid and of the step list");
    v("discrete_cd_n",
      c.discrete_cd_n,
      "points of the time grid between noise and data; the student is made to agree at neighbours; "
      "at least 2");
    v("guidance_scale",
      c.guidance_scale,
      "w of the teacher's guidance v_neg + w (v_pos - v_neg); 1: none");
    v("negative_prompt",
      c.negative_prompt,
      "prompt that the teacher's guidance moves away from; may be empty");
    v("target_ema_decay",
      c.target_ema_decay,
      "decay per step of the moving average of the student that makes the target; 0 to below 1");
    v("include_endpoint",
      c.include_endpoint,
      "true: the last grid point is drawn too; its target is the teacher's own clean prediction");
    v("denoising_step_list",
      c.denoising_step_list,
      "timesteps of the student's denoising steps for a chunk, before the shift: decreasing, above "
      "0, at most 1000; used to sample the student");
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
        .roles = {{.name = "generator",
                   .update_every = dfake_gen_update_ratio,
                   .rolls_out = true,
                   .passes = "rollout"},
                  {.name = "real_score",
                   .training = Training::kFrozen,
                   .must_start_from = "needs the weights of a dense bidirectional model",
                   .passes = "scores",
                   .is_score = true},
                  {.name = "fake_score",
                   .optimizer = fake_score_optimizer,
                   .same_weights_as = "real_score",
                   .passes = "scores",
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
    v("timestep_shift",
      c.timestep_shift,
      "shift s > 0 of the step list and of the timesteps of both scores");
    v("denoising_step_list",
      c.denoising_step_list,
      "timesteps of the student's denoising steps for a chunk, before the shift: decreasing, above "
      "0, at most 1000");
    v("first_chunk_denoising_step_list",
      c.first_chunk_denoising_step_list,
      "other steps for the first chunk (for students of 1 or 2 steps); empty: the same");
    v("last_step_only",
      c.last_step_only,
      "true: every rollout runs all steps; false: it ends after a step drawn at random, one for "
      "all chunks and clips");
    v("kv_grad",
      c.kv_grad,
      "whether gradients flow through the attention cache: detached (no; memory of one chunk) or "
      "straight_through (yes, as in the published code; memory of the whole rollout)");
    v("context_noise",
      c.context_noise,
      "timestep at which a finished chunk is written to the cache, 0 to below 1000; 0: clean");
    v("quantized_sigma",
      c.quantized_sigma,
      "true: sigma is rounded to the nearest of 1000 values, as the reference code does, also "
      "where a chunk is written to the cache");
    v("min_rollout_frames",
      c.min_rollout_frames,
      "latent frames of the shortest rollout, whole chunks; 0: a clip's");
    v("max_rollout_frames",
      c.max_rollout_frames,
      "latent frames of the longest rollout, whole chunks; 0: a clip's; lengths between are drawn");
    v("scored_windows",
      c.scored_windows,
      "which clips of a longer rollout the scores see: last, or all, one after another (long "
      "tuning)");
    v("guidance_scale",
      c.guidance_scale,
      "g of the real score's guidance D_c + g (D_c - D_u), which other papers call g + 1; 0: none");
    v("negative_prompt",
      c.negative_prompt,
      "prompt that the real score's guidance moves away from; may be empty");
    v("min_score_timestep",
      c.min_score_timestep,
      "least timestep drawn for the scores, before the shift; 0 to 999");
    v("score_timestep_range",
      c.score_timestep_range,
      "[low, high] that the scores' timesteps are clamped to, after the shift; 0 < low < high <= "
      "1000");
    v("dfake_gen_update_ratio",
      c.dfake_gen_update_ratio,
      "updates of the fake score for each update of the generator, at least 1; train.steps counts "
      "updates of the fake score");
    v("fake_score_optimizer",
      c.fake_score_optimizer,
      "AdamW of the fake score; the section `optimizer` is the generator's.");
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
    v("name",
      c.name,
      "flow_matching, diffusion_forcing, teacher_forcing, ode_regression, consistency_distillation "
      "or dmd");
    v("flow_matching",
      c.flow_matching,
      "Flow matching over whole clips; every frame attends to every other (bidirectional).");
    v("diffusion_forcing",
      c.diffusion_forcing,
      "Flow matching chunk by chunk, given the noisy chunks before.");
    v("teacher_forcing",
      c.teacher_forcing,
      "Flow matching chunk by chunk, given the clean chunks before.");
    v("ode_regression",
      c.ode_regression,
      "A few-step student learns the end of the ODE path that a causal teacher took (vmla data "
      "ode).");
    v("consistency_distillation",
      c.consistency_distillation,
      "A few-step student learns to predict the same clean chunk from neighbouring points of the "
      "teacher's ODE path.");
    v("dmd",
      c.dmd,
      "Distribution matching distillation: the student rolls out by itself and is moved to where "
      "the real score finds its clips more probable than the fake score does.");
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
