#include "trainer/config/validate_objective.h"

#include <algorithm>

#include "model/config/config_rule.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/config/config_node.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/validate_config.h"

namespace vmla::trainer {
namespace {

void validate_context(const TeacherForcingConfig& c, const std::string& section) {
  if (c.noise_augmentation_max_timestep >= 0 && c.noise_augmentation_max_timestep < 1000) return;
  fail_rule(section + ".noise_augmentation_max_timestep",
            "{} is out of range; use 0 (off) to 999",
            c.noise_augmentation_max_timestep);
}

void validate_ode(const OdeRegressionConfig& c, const std::string& section) {
  validate_steps(section + ".denoising_step_list", c.denoising_step_list);
  require_one_of(section + ".context", c.context, {"teacher_forcing", "chunk_causal"});
}

void validate_consistency(const ConsistencyConfig& c, const std::string& section) {
  validate_steps(section + ".denoising_step_list", c.denoising_step_list);
  require_at_least(section + ".discrete_cd_n", c.discrete_cd_n, 2);
  require_range(section + ".target_ema_decay", c.target_ema_decay, 0, 1, true);
}

// Whole chunks, and no more positions than there are: with a window positions are ranks in it.
void validate_rollout(const model::ModelConfig& m, const std::string& key, int64_t frames) {
  if (frames == 0) return;
  const int64_t first = m.independent_first_frame ? 1 : 0;
  if ((frames - first) % m.num_frame_per_block != 0) {
    fail_rule(key,
              "{} latent frames are no whole chunks (model.num_frame_per_block {}{}",
              frames,
              m.num_frame_per_block,
              first ? ", after a first frame of its own)" : ")");
  }
  if (m.local_attn_size < 0 && frames > model::kMaxPositions) {
    fail_rule(key,
              "{} latent frames need as many positions with an unlimited window "
              "(model.local_attn_size -1), and there are {}; give a window, or fewer frames",
              frames,
              model::kMaxPositions);
  }
}

void validate_dmd(const TrainConfig& config, const DmdConfig& c, const std::string& section) {
  validate_steps(section + ".denoising_step_list", c.denoising_step_list);
  if (!c.first_chunk_denoising_step_list.empty()) {
    validate_steps(section + ".first_chunk_denoising_step_list", c.first_chunk_denoising_step_list);
  }
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

/// The section's own rules; an unknown name is an error that lists the known ones.
void validate_section(const TrainConfig& c) {
  const ObjectiveConfig& o = c.objective;
  const std::string section = "objective." + o.name;
  double shift = 1;
  if (o.name == "flow_matching") {
    shift = o.flow_matching.timestep_shift;
  } else if (o.name == "diffusion_forcing") {
    shift = o.diffusion_forcing.timestep_shift;
  } else if (o.name == "teacher_forcing") {
    shift = o.teacher_forcing.timestep_shift;
    validate_context(o.teacher_forcing, section);
  } else if (o.name == "ode_regression") {
    shift = o.ode_regression.timestep_shift;
    validate_ode(o.ode_regression, section);
  } else if (o.name == "consistency_distillation") {
    shift = o.consistency_distillation.timestep_shift;
    validate_consistency(o.consistency_distillation, section);
  } else if (o.name == "dmd") {
    shift = o.dmd.timestep_shift;
    validate_dmd(c, o.dmd, section);
  } else {
    std::vector<std::string> names;
    ObjectiveConfig all;
    ObjectiveConfig::fields(all, [&](const char* name, auto&, const char*) {
      if (std::string_view(name) != "name") names.emplace_back(name);
    });
    require_one_of("objective.name", o.name, names);
  }
  require_positive(section + ".timestep_shift", shift);
}

}  // namespace

void validate_steps(const std::string& key, const std::vector<double>& list) {
  // warped_step_list says what is wrong, the key says where.
  try {
    model::warped_step_list(list, 1.0);
  } catch (const UserError& error) {
    const std::string text = error.what();
    const std::string name = "denoising_step_list";
    fail_rule(key, text.starts_with(name) ? text.substr(name.size() + 1) : text);
  }
}

void validate_objective(const TrainConfig& c) {
  validate_section(c);
  if (c.model.in_dim != c.model.out_dim) {
    fail_rule("model.out_dim",
              "{} differs from model.in_dim ({}); a flow has the latents' channels",
              c.model.out_dim,
              c.model.in_dim);
  }
  if (c.objective.name == "flow_matching") {
    const std::string why =
        " limits what a frame attends to, but objective flow_matching is bidirectional; ";
    if (c.model.local_attn_size != -1) {
      fail_rule("model.local_attn_size", "{}{}use -1", c.model.local_attn_size, why);
    }
    if (c.model.sink_size != 0) fail_rule("model.sink_size", "{}{}use 0", c.model.sink_size, why);
    if (c.model.independent_first_frame) {
      fail_rule("model.independent_first_frame", "true{}use false", why);
    }
  } else if (const int64_t frames = known_latent_frames(c); frames > 0) {
    model::chunk_sizes(c.model, frames);
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
  require_at_least(section + ".warmup_steps", o.warmup_steps, 0);
  if (o.warmup_steps > steps) {
    fail_rule(section + ".warmup_steps",
              "{} is longer than the stage (train.steps is {})",
              o.warmup_steps,
              steps);
  }
  require_range(section + ".min_lr_ratio", o.min_lr_ratio, 0, 1, false);
}

std::vector<std::string> named_roles(const ObjectiveConfig& objective) {
  if (objective.name == "consistency_distillation") return {"generator", "teacher", "target_ema"};
  if (objective.name == "dmd") return {"generator", "real_score", "fake_score"};
  return {"generator"};
}

bool is_score(const std::string& role) {
  return role == "real_score" || role == "fake_score";
}

std::vector<std::string> saved_roles(const TrainConfig& config) {
  std::vector<std::string> roles;
  if (config.ema.decay > 0) roles.push_back("generator_ema");
  if (config.objective.name == "consistency_distillation") roles.push_back("target_ema");
  roles.push_back("generator");
  if (config.objective.name == "dmd") roles.push_back("fake_score");
  return roles;
}

bool trains_few_step(const ObjectiveConfig& objective) {
  return objective.name == "ode_regression" || objective.name == "consistency_distillation" ||
         objective.name == "dmd";
}

bool learns_from_prompts(const ObjectiveConfig& objective) {
  return objective.name == "dmd";
}

}  // namespace vmla::trainer
