#include "trainer/config/validate_config.h"

#include <algorithm>

#include "model/config/config_rule.h"
#include "model/config/kv_cache_dtype.h"
#include "model/config/recompute.h"
#include "model/conversion/init_methods.h"
#include "trainer/config/config_node.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/stage_roles.h"
#include "trainer/config/validate_data.h"
#include "trainer/config/validate_distributed.h"
#include "trainer/config/validate_objective.h"

namespace vmla::trainer {
namespace {

/// The first entries of a table of names and values.
template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& [name, value] : table) names.emplace_back(name);
  return names;
}

// init_from: every entry names a role of the objective and a place, and no role that must start
// from weights is missing.
void validate_sources(const TrainConfig& c, Purpose purpose) {
  const auto roles = named_roles(c.objective);
  for (const auto& [role, source] : c.init_from) {
    const std::string key = "init_from." + role;
    if (std::find(roles.begin(), roles.end(), role) == roles.end()) {
      fail_rule(
          key, "objective {} has no role '{}'; valid: {}", c.objective.name, role, join(roles));
    }
    if (source.path.empty() && source.stage.empty()) {
      fail_rule(key, "says no place; give a path, or {stage: NAME} in a pipeline");
    }
    if (source.path.empty() && purpose != Purpose::kPipelineStage) {
      fail_rule(
          key + ".stage", "'{}' is known to `vmla pipeline` only; give a path here", source.stage);
    }
  }
  for (const Role& role : objective_traits(c.objective).roles) {
    if (role.must_start_from.empty() || c.init_from.contains(role.name)) continue;
    fail_rule(
        "init_from." + role.name, "is missing: {} {}", c.objective.name, role.must_start_from);
  }
}

// Conversion from dense weights to latent attention (docs/algorithms.md 5).
void validate_init(const TrainConfig& c) {
  const std::string& method = c.init.method;
  if (c.init.calibration_clips < 1)
    fail_rule("init.calibration_clips", "is {}; use at least 1", c.init.calibration_clips);
  require_at_least("init.refine_steps", c.init.refine_steps, 0);
  if (method.empty()) return;
  require_one_of("init.method", method, model::init_method_names());
  const bool factorises = model::find_init_method(method)->factorises;
  if (c.init.refine_steps > 0 && !factorises) {
    fail_rule("init.refine_steps",
              "{} steps, but init.method {} approximates nothing that could be refined; use 0",
              c.init.refine_steps,
              method);
  }
  if (!c.model.is_mla()) {
    fail_rule("init.method",
              "{} converts to latent attention, but model.attention is dense; remove it or use mla",
              method);
  }
  if (factorises && !c.init_from.contains("generator")) {
    fail_rule(
        "init.method", "{} starts from dense weights; name them in init_from.generator", method);
  }
  // The output projection is taken over from the dense model, so values must have its width; and a
  // method that factorises keeps every query and key channel of a dense head, rotated or not.
  if (!c.init_from.contains("generator")) return;
  if (c.model.v_head_dim != c.model.head_dim()) {
    fail_rule("model.v_head_dim",
              "{} differs from the dense head ({}), whose values and output projection init.method "
              "{} keeps",
              c.model.v_head_dim,
              c.model.head_dim(),
              method);
  }
  const int64_t kept = c.model.qk_nope_head_dim + c.model.qk_rope_head_dim;
  if (factorises && kept != c.model.head_dim()) {
    fail_rule("model.qk_nope_head_dim",
              "{} + qk_rope_head_dim ({}) is {}, but {} keeps the dense head of {} "
              "channels; use {}",
              c.model.qk_nope_head_dim,
              c.model.qk_rope_head_dim,
              kept,
              method,
              c.model.head_dim(),
              c.model.head_dim() - c.model.qk_rope_head_dim);
  }
}

void validate_train(const TrainConfig& c) {
  const auto& t = c.train;
  require_at_least("train.steps", t.steps, 1);
  require_at_least("train.batch_size", t.batch_size, 1);
  require_at_least("train.micro_batch_size", t.micro_batch_size, 0);
  // Whether it also divides a rank's share is checked when the number of ranks is known
  // (mesh_shape).
  if (t.micro_batch_size > 0 && t.batch_size % t.micro_batch_size != 0) {
    fail_rule(
        "train.micro_batch_size",
        "{} does not divide train.batch_size ({}); the batch is a whole number of micro batches",
        t.micro_batch_size,
        t.batch_size);
  }
  require_one_of("train.precision", t.precision, {"fp32", "bf16", "fp64"});
  require_one_of("train.recompute", t.recompute, names_of(model::kRecomputeNames));
  require_one_of("train.device", t.device, {"cpu", "cuda"});
  KernelsConfig::fields(c.kernels, [&](const char* name, const std::string& use, const char*) {
    if (&use == &c.kernels.attention) return;
    require_one_of(formatted("kernels.{}", name), use, {"auto", "reference", "fused"});
  });
  require_one_of("kernels.attention", c.kernels.attention, {"flash", "cudnn"});
  if (t.deterministic && c.kernels.attention == "cudnn") {
    fail_rule("kernels.attention",
              "cudnn: its backward adds in any order, so that train.deterministic: true cannot be "
              "kept; use flash");
  }
  require_at_least("train.threads", t.threads, 0);
  require_at_least("train.log_every", t.log_every, 1);
}

// What looks on during training: averages, validation, checkpoints, ranks.
void validate_observers(const TrainConfig& c) {
  require_range("ema.decay", c.ema.decay, 0, 1, true);
  require_at_least("ema.start_step", c.ema.start_step, 0);
  if (c.ema.decay > 0 && c.ema.start_step >= c.train.steps) {
    fail_rule("ema.start_step",
              "{} is not before train.steps ({}): the average would never start; use ema.decay: 0 "
              "to have none",
              c.ema.start_step,
              c.train.steps);
  }
  require_at_least("validation.every", c.validation.every, 0);
  require_at_least("validation.clips", c.validation.clips, 1);
  require_at_least("validation.time_bins", c.validation.time_bins, 1);
  if (c.validation.every > 0 && c.data.validation_path.empty()) {
    fail_rule("validation.every",
              "{} needs held-out clips; name them in data.validation_path, or use 0",
              c.validation.every);
  }
  require_at_least("checkpoint.every", c.checkpoint.every, 0);
  require_at_least("checkpoint.keep_last", c.checkpoint.keep_last, 1);
  require_at_least("checkpoint.keep_every", c.checkpoint.keep_every, 0);
  require_at_least("rank.every", c.rank.every, 0);
  for (size_t i = 0; i < c.rank.energy_at.size(); ++i) {
    const int64_t rank = c.rank.energy_at[i], before = i > 0 ? c.rank.energy_at[i - 1] : 0;
    if (rank <= before || rank > c.model.dim) {
      fail_rule("rank.energy_at",
                "{} at place {}; must be ascending whole numbers from 1 to model.dim, {}",
                rank,
                i + 1,
                c.model.dim);
    }
  }
  require_at_least("rank.activation_clips", c.rank.activation_clips, 0);
  require_at_least("rank.activation_every", c.rank.activation_every, 0);
  if (c.rank.every > 0 && c.rank.activation_every % c.rank.every != 0) {
    fail_rule("rank.activation_every",
              "{} is no multiple of rank.every, {}: latents are measured when weights are",
              c.rank.activation_every,
              c.rank.every);
  }
  if (c.rank.activation_clips > 0 && c.data.validation_path.empty()) {
    fail_rule("rank.activation_clips",
              "{} needs held-out clips; name them in data.validation_path, or use 0",
              c.rank.activation_clips);
  }
}

void validate_sample(const TrainConfig& c) {
  const auto& s = c.sample;
  require_at_least("sample.every", s.every, 0);
  if (s.every > 0 && s.prompts.empty()) {
    fail_rule("sample.every", "{} needs prompts; list them in sample.prompts, or use 0", s.every);
  }
  require_at_least("sample.frames", s.frames, 1);
  require_one_of("sample.sampler", s.sampler, {"auto", "unipc", "euler", "few_step"});
  if (s.sampler == "few_step" && !objective_traits(c.objective).few_step) {
    fail_rule("sample.sampler",
              "few_step needs a distilled model, objective {} trains none; use unipc or euler",
              c.objective.name);
  }
  require_at_least("sample.steps", s.steps, 1);
  require_one_of("sample.kv_cache_dtype", s.kv_cache_dtype, names_of(model::kKvCacheDtypeNames));
  const bool keeps_latents = c.model.is_mla() && objective_traits(c.objective).causal;
  if (s.kv_cache_dtype == "int8" && !keeps_latents) {
    fail_rule("sample.kv_cache_dtype",
              "int8 is for latents that a cache keeps between chunks; a model of objective {} with "
              "{} attention has none: use auto",
              c.objective.name,
              c.model.attention);
  }
  if (!s.also_few_step.empty()) validate_steps("sample.also_few_step", s.also_few_step);
  require_at_least("sample.long_frames", s.long_frames, 0);
  require_at_least("sample.long_clips", s.long_clips, 1);
  if (s.guidance_scale < 0)
    fail_rule(
        "sample.guidance_scale", "{} is negative; 1 means no guidance", shortest(s.guidance_scale));
}

// A stage's name is the name of its folder in a pipeline's run folder.
void validate_stage_name(const std::string& name) {
  const bool good = !name.empty() && name[0] != '.' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char ch) {
                      return std::isalnum(ch) || ch == '_' || ch == '-' || ch == '.';
                    });
  if (!good)
    fail_rule("stage", "'{}' is no folder name; use letters, digits, '_', '-' and '.'", name);
}

}  // namespace

void validate_config(const TrainConfig& c, Purpose purpose) {
  validate_stage_name(c.stage);
  model::validate_model(c.model, "model");
  validate_objective(c);
  validate_sources(c, purpose);
  validate_init(c);
  // One evaluation reads its clips from a file of tensors.
  if (purpose != Purpose::kStep) validate_data(c);
  validate_train(c);
  validate_optimizer(c.optimizer, "optimizer", c.train.steps);
  validate_observers(c);
  validate_sample(c);
  validate_distributed(c);
}

}  // namespace vmla::trainer
