#include "trainer/config/validate_objective.h"

#include "model/config/config_rule.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/config/config_node.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/validate_data.h"

namespace vmla::trainer {
namespace {

/// The rules of an objective's own section beyond those that all of them share; `section` is its
/// key. An objective without rules of its own needs no overload.
template <class Config>
void validate_section(const Config&, const TrainConfig&, const std::string&) {}

void validate_section(const TeacherForcingConfig& c,
                      const TrainConfig&,
                      const std::string& section) {
  if (c.noise_augmentation_max_timestep >= 0 && c.noise_augmentation_max_timestep < 1000) return;
  fail_rule(section + ".noise_augmentation_max_timestep",
            "{} is out of range; use 0 (off) to 999",
            c.noise_augmentation_max_timestep);
}

void validate_section(const OdeRegressionConfig& c,
                      const TrainConfig&,
                      const std::string& section) {
  require_one_of(section + ".context", c.context, {"teacher_forcing", "chunk_causal"});
}

void validate_section(const ConsistencyConfig& c, const TrainConfig&, const std::string& section) {
  require_at_least(section + ".discrete_cd_n", c.discrete_cd_n, 2);
  require_range(section + ".target_ema_decay", c.target_ema_decay, 0, 1, true);
}

// A rollout is whole chunks and needs no more positions than the rotary table has: with a window
// positions are ranks in it (docs/algorithms.md 3.6), without one, or where they are absolute, a
// video has kMaxPositions frames at most.
void validate_rollout(const model::ModelConfig& m, const std::string& key, int64_t frames) {
  if (frames == 0) return;  // as long as a clip
  const int64_t first = m.independent_first_frame ? 1 : 0;
  if ((frames - first) % m.num_frame_per_block != 0) {
    fail_rule(key,
              "{} latent frames are no whole chunks (model.num_frame_per_block {}{})",
              frames,
              m.num_frame_per_block,
              first ? ", after a first frame of its own" : "");
  }
  if (frames <= model::kMaxPositions) return;
  if (m.has_absolute_positions()) {
    fail_rule(key,
              "{} latent frames need as many positions with model.rope_cache_policy absolute, and "
              "there are {}; use relativistic with a window, or fewer frames",
              frames,
              model::kMaxPositions);
  }
  if (m.local_attn_size < 0) {
    fail_rule(key,
              "{} latent frames need as many positions with an unlimited window "
              "(model.local_attn_size -1), and there are {}; give a window, or fewer frames",
              frames,
              model::kMaxPositions);
  }
}

void validate_section(const DmdConfig& c, const TrainConfig& config, const std::string& section) {
  require_one_of(section + ".kv_grad", c.kv_grad, {"detached", "straight_through"});
  require_one_of(section + ".scored_windows", c.scored_windows, {"last", "all"});
  require_range(section + ".context_noise", c.context_noise, 0, 1000, true);
  require_at_least(section + ".min_rollout_frames", c.min_rollout_frames, 0);
  if (c.max_rollout_frames < c.min_rollout_frames) {
    fail_rule(section + ".max_rollout_frames",
              "{} is below min_rollout_frames ({})",
              c.max_rollout_frames,
              c.min_rollout_frames);
  }
  validate_rollout(config.model, section + ".min_rollout_frames", c.min_rollout_frames);
  validate_rollout(config.model, section + ".max_rollout_frames", c.max_rollout_frames);
  if (c.min_score_timestep < 0 || c.min_score_timestep >= 1000) {
    fail_rule(
        section + ".min_score_timestep", "{} is out of range; use 0 to 999", c.min_score_timestep);
  }
  const auto& [low, high] = c.score_timestep_range;
  if (!(low > 0 && low < high && high <= 1000)) {
    fail_rule(section + ".score_timestep_range",
              "[{}, {}]: use 0 < low < high <= 1000",
              shortest(low),
              shortest(high));
  }
  require_at_least(section + ".dfake_gen_update_ratio", c.dfake_gen_update_ratio, 1);
  validate_optimizer(c.fake_score_optimizer, section + ".fake_score_optimizer", config.train.steps);
}

/// A student's steps, of every objective that has them.
void validate_few_step(const FewStepSchedule& steps, const std::string& section) {
  validate_steps(section + ".denoising_step_list", steps.denoising_step_list);
  if (!steps.first_chunk_denoising_step_list.empty()) {
    validate_steps(section + ".first_chunk_denoising_step_list",
                   steps.first_chunk_denoising_step_list);
  }
}

/// What limits the attended frames has no meaning where every frame attends to all.
void validate_bidirectional(const TrainConfig& c) {
  const auto refuse = [&](const char* key, const std::string& value, const char* use) {
    fail_rule(formatted("model.{}", key),
              "{} limits what a frame attends to, but objective {} is bidirectional; use {}",
              value,
              c.objective.name,
              use);
  };
  const model::ModelConfig& m = c.model;
  if (m.local_attn_size != -1) refuse("local_attn_size", std::to_string(m.local_attn_size), "-1");
  if (m.sink_size != 0) refuse("sink_size", std::to_string(m.sink_size), "0");
  if (m.independent_first_frame) refuse("independent_first_frame", "true", "false");
}

}  // namespace

void validate_steps(const std::string& key, const std::vector<double>& list) {
  // warped_step_list knows the rule and calls the list by its default name; the message shall name
  // the full key instead.
  try {
    model::warped_step_list(list, 1.0);
  } catch (const UserError& error) {
    const std::string text = error.what();
    const std::string name = "denoising_step_list";
    fail_rule(key, text.starts_with(name) ? text.substr(name.size() + 1) : text);
  }
}

void validate_objective(const TrainConfig& c) {
  const ObjectiveTraits traits = objective_traits(c.objective);
  const std::string section = "objective." + c.objective.name;
  if (traits.few_step) validate_few_step(*traits.few_step, section);
  visit_objective(c.objective, [&](const auto& chosen) { validate_section(chosen, c, section); });
  require_positive(section + ".timestep_shift", traits.timestep_shift);
  if (c.model.in_dim != c.model.out_dim) {
    fail_rule("model.out_dim",
              "{} differs from model.in_dim ({}); a flow has the latents' channels",
              c.model.out_dim,
              c.model.in_dim);
  }
  if (!traits.causal) {
    validate_bidirectional(c);
  } else if (const int64_t frames = known_latent_frames(c); frames > 0) {
    model::chunk_sizes(c.model, frames);  // throws where they are no whole chunks
  }
}

void validate_optimizer(const OptimizerConfig& o, const std::string& section, int64_t steps) {
  require_positive(section + ".lr", o.lr);
  for (const double beta : o.betas) require_range(section + ".betas", beta, 0, 1, true);
  require_positive(section + ".eps", o.eps);
  if (o.weight_decay < 0)
    fail_rule(section + ".weight_decay", "{} is negative; use 0 or more", shortest(o.weight_decay));
  if (o.max_grad_norm < 0)
    fail_rule(section + ".max_grad_norm",
              "{} is negative; use 0 for no clipping",
              shortest(o.max_grad_norm));
  require_one_of(section + ".lr_schedule", o.lr_schedule, {"constant", "linear", "cosine"});
  require_at_least(section + ".schedule_steps", o.schedule_steps, 0);
  require_at_least(section + ".warmup_steps", o.warmup_steps, 0);
  if (o.warmup_steps > steps) {
    fail_rule(section + ".warmup_steps",
              "{} is longer than the stage (train.steps is {})",
              o.warmup_steps,
              steps);
  }
  if (o.schedule_steps > 0 && o.warmup_steps > o.schedule_steps) {
    fail_rule(section + ".warmup_steps",
              "{} is longer than the schedule ({}.schedule_steps is {})",
              o.warmup_steps,
              section,
              o.schedule_steps);
  }
  require_range(section + ".min_lr_ratio", o.min_lr_ratio, 0, 1, false);
}

}  // namespace vmla::trainer
