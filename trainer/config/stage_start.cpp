#include "trainer/config/stage_start.h"

#include <tuple>
#include <vector>

#include "model/config/config_rule.h"
#include "model/conversion/init_methods.h"
#include "trainer/config/score_fit.h"
#include "trainer/config/stage_roles.h"

namespace vmla::trainer {
namespace {

// The sizes that a dense model and the model converted from it share: everything outside of
// self-attention is copied (docs/algorithms.md 5).
void check_same_sizes(const model::ModelConfig& now,
                      const TrainConfig& from,
                      const std::string& source) {
  const model::ModelConfig& then = from.model;
  const std::tuple<const char*, int64_t, int64_t> sizes[] = {
      {"dim", now.dim, then.dim},
      {"ffn_dim", now.ffn_dim, then.ffn_dim},
      {"num_heads", now.num_heads, then.num_heads},
      {"num_layers", now.num_layers, then.num_layers},
      {"in_dim", now.in_dim, then.in_dim},
      {"out_dim", now.out_dim, then.out_dim},
      {"freq_dim", now.freq_dim, then.freq_dim},
      {"text_dim", now.text_dim, then.text_dim},
      {"text_len", now.text_len, then.text_len}};
  for (const auto& [key, value, expected] : sizes) {
    if (value == expected) continue;
    fail_rule(formatted("model.{}", key),
              "{}, but {}, whose weights it starts from, has {}",
              value,
              source,
              expected);
  }
}

// A few-step student goes on from a model that was trained chunk by chunk: distillation shortens
// the denoising of a causal model, it does not make a model causal.
void check_kind(const TrainConfig& config,
                const std::string& role,
                const TrainConfig& from,
                const std::string& source) {
  if (!objective_traits(config.objective).few_step) return;
  if (objective_traits(from.objective).causal) return;
  fail_rule(formatted("init_from.{}", role),
            "{} is trained with {}, bidirectional; {} starts from a chunk-causal stage "
            "(teacher_forcing, diffusion_forcing, ...)",
            source,
            from.objective.name,
            config.objective.name);
}

// The chunks and the window that a model was trained with: key below `model`, and value as text.
std::vector<std::tuple<const char*, std::string>> window_settings(const model::ModelConfig& m) {
  return {{"num_frame_per_block", formatted("{}", m.num_frame_per_block)},
          {"local_attn_size", formatted("{}", m.local_attn_size)},
          {"sink_size", formatted("{}", m.sink_size)},
          {"independent_first_frame", m.independent_first_frame ? "true" : "false"},
          {"rope_cache_policy", m.rope_cache_policy}};
}

// Another window or chunk than in training gives a model attention sets that it has never seen.
// That may be wanted (a longer window for tuning), so init.allow_other_window permits it.
void check_window(const TrainConfig& config, const TrainConfig& from, const std::string& source) {
  if (!objective_traits(from.objective).causal || config.init.allow_other_window) return;
  const auto now = window_settings(config.model), then = window_settings(from.model);
  for (size_t i = 0; i < now.size(); ++i) {
    const auto& [key, value] = now[i];
    const std::string& expected = std::get<1>(then[i]);
    if (value == expected) continue;
    fail_rule(formatted("model.{}", key),
              "{}, but {} is trained with {}; use that, or init.allow_other_window: true",
              value,
              source,
              expected);
  }
}

// Sizes of latent attention. Loading the tensors would find most differences too, but by a tensor's
// shape and not by the key that is wrong; eps and rope pairs it would not find at all.
void check_same_latents(const model::ModelConfig& now,
                        const TrainConfig& from,
                        const std::string& source) {
  const model::ModelConfig& then = from.model;
  const auto fail = [&](const char* key) {
    fail_rule(formatted("model.{}", key),
              "is not that of {}, whose latent attention it takes over; use the same, or start "
              "from dense weights",
              source);
  };
  if (now.q_lora_rank != then.q_lora_rank) fail("q_lora_rank");
  if (now.qk_nope_head_dim != then.qk_nope_head_dim) fail("qk_nope_head_dim");
  if (now.qk_rope_head_dim != then.qk_rope_head_dim) fail("qk_rope_head_dim");
  if (now.v_head_dim != then.v_head_dim) fail("v_head_dim");
  if (now.bias != then.bias) fail("bias");
  if (now.latent_norm_eps != then.latent_norm_eps) fail("latent_norm_eps");
  for (int64_t layer = 0; layer < now.num_layers; ++layer) {
    if (now.kv_lora_rank.at(layer) != then.kv_lora_rank.at(layer)) fail("kv_lora_rank");
    if (model::rope_pairs(now, layer) != model::rope_pairs(then, layer)) fail("rope_pair_indices");
  }
}

// A score must be a dense bidirectional model and take the student's latents and texts; its width
// and depth are its own.
void check_score(const TrainConfig& config,
                 const std::string& role,
                 const TrainConfig& from,
                 const std::string& source) {
  if (from.model.is_mla() || objective_traits(from.objective).causal) {
    fail_rule(formatted("init_from.{}", role),
              "{} is no bidirectional dense model (objective flow_matching), which a score must be",
              source);
  }
  require_score_fits(role, config.model, from.model, source);
}

// Attention may go from dense to latent, by init.method; there is no way back, and weights that are
// latent already are not converted again.
void check_conversion(const TrainConfig& config,
                      const TrainConfig& from,
                      const std::string& source) {
  const bool mla_now = config.model.is_mla(), mla_then = from.model.is_mla();
  if (mla_then && !mla_now) {
    fail_rule("model.attention",
              "dense cannot start from {}, whose attention is mla; no exact dense form exists",
              source);
  }
  if (mla_now && !mla_then && config.init.method.empty()) {
    fail_rule("init.method",
              "is missing: {} is dense and this model is mla; use {}",
              source,
              model::init_method_choice());
  }
  if (mla_now && mla_then && !config.init.method.empty()) {
    fail_rule("init.method",
              "{} converts dense weights, but {} is mla already; remove it",
              config.init.method,
              source);
  }
  check_same_sizes(config.model, from, source);
  if (mla_now && mla_then) check_same_latents(config.model, from, source);
}

}  // namespace

void check_start(const TrainConfig& config,
                 const std::string& role,
                 const TrainConfig& from,
                 const std::string& source) {
  if (is_score(config.objective, role)) {
    check_score(config, role, from, source);
    return;
  }
  check_kind(config, role, from, source);
  check_conversion(config, from, source);
  check_window(config, from, source);
}

std::string other_window(const TrainConfig& config,
                         const std::string& role,
                         const TrainConfig& from) {
  std::string text;
  if (is_score(config.objective, role) || !objective_traits(from.objective).causal) return text;
  const auto now = window_settings(config.model), then = window_settings(from.model);
  for (size_t i = 0; i < now.size(); ++i) {
    const auto& [key, value] = now[i];
    const std::string& trained = std::get<1>(then[i]);
    if (value != trained)
      text += formatted("{}{} {} -> {}", text.empty() ? "" : ", ", key, trained, value);
  }
  return text;
}

}  // namespace vmla::trainer
