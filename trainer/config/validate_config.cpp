#include "trainer/config/validate_config.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "model/config/config_rule.h"
#include "trainer/config/config_node.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/stage_roles.h"
#include "trainer/config/validate_distributed.h"
#include "trainer/config/validate_objective.h"

namespace vmla::trainer {
namespace {

// What a codec's name says of its latents, for the built-in weight-free codec.
struct CodecGeometry {
  int64_t channels, spatial_factor;
};

std::optional<int64_t> positive_int(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

std::optional<CodecGeometry> codec_geometry(const std::string& name) {
  const std::string prefix = "space_to_depth:";
  if (!name.starts_with(prefix)) return std::nullopt;
  const auto factor = positive_int(std::string_view(name).substr(prefix.size()));
  if (!factor || *factor > 1024) return std::nullopt;
  return CodecGeometry{3 * *factor * *factor, *factor};
}

bool is_made(const data::MakeConfig& make) {
  return make.makes_something();
}

void validate_make(const data::MakeConfig& make, const std::string& section, const TrainConfig& c) {
  require_at_least(section + ".synth_count", make.synth_count, 0);
  if (!is_made(make)) return;
  if (!make.prompts.empty() && (make.synth_count > 0 || !make.videos.empty())) {
    fail_rule(section + ".prompts",
              "{}: a dataset holds prompts or clips; leave out synth_count and videos",
              make.prompts);
  }
  if (make.prompts.empty() && make.videos.empty()) {
    fail_rule(section + ".videos",
              "is empty, but {}.synth_count renders videos; name their folder",
              section);
  }
  if (make.hold_out_every < 0 || make.hold_out_every == 1) {
    fail_rule(section + ".hold_out_every",
              "{}: must be 0 (hold out nothing) or at least 2",
              make.hold_out_every);
  }
  if (!make.videos.empty() && make.synth_count == 0 && make.held_out && make.hold_out_every == 0) {
    fail_rule(section + ".held_out",
              "true, but {}.hold_out_every does not say which clips of the videos are held out",
              section);
  }
  require_at_least(section + ".frames", make.frames, 1);
  require_at_least(section + ".size_height", make.size_height, 1);
  require_at_least(section + ".size_width", make.size_width, 1);
  require_positive(section + ".fps", make.fps);

  if (const auto codec = codec_geometry(make.codec)) {
    for (const auto& [key, channels] :
         {std::pair{"model.in_dim", c.model.in_dim}, {"model.out_dim", c.model.out_dim}}) {
      if (channels != codec->channels) {
        fail_rule(key,
                  "{} channels, but {}.codec {} gives {}",
                  channels,
                  section,
                  make.codec,
                  codec->channels);
      }
    }
    const std::pair<std::string, int64_t> sides[] = {{".size_height", make.size_height},
                                                     {".size_width", make.size_width}};
    for (size_t i = 0; i < 2; ++i) {
      const int64_t token = codec->spatial_factor * c.model.patch_size[i + 1];
      if (sides[i].second % token == 0) continue;
      fail_rule(section + sides[i].first,
                "{} pixels: a token covers {} (codec {} x patch {}); use a multiple of {}",
                sides[i].second,
                token,
                codec->spatial_factor,
                c.model.patch_size[i + 1],
                token);
    }
  }
  // hashing:DIMxROWS
  const size_t cross = make.text.find('x');
  if (make.text.starts_with("hashing:") && cross != std::string::npos) {
    const auto dim = positive_int(std::string_view(make.text).substr(8, cross - 8));
    const auto rows = positive_int(std::string_view(make.text).substr(cross + 1));
    if (dim && *dim != c.model.text_dim) {
      fail_rule("model.text_dim",
                "{}, but {}.text {} gives {}",
                c.model.text_dim,
                section,
                make.text,
                *dim);
    }
    if (rows && *rows > c.model.text_len) {
      fail_rule("model.text_len",
                "{} rows, but {}.text {} gives up to {}",
                c.model.text_len,
                section,
                make.text,
                *rows);
    }
  }
}

void validate_data(const TrainConfig& c) {
  if (c.data.path.empty()) {
    fail_rule("data.path",
              "is missing; name the HDF5 file or folder of clips (vmla data encode writes one)");
  }
  if (!c.data.clip_shape.empty() && c.data.clip_shape.size() != 4) {
    fail_rule(
        "data.clip_shape", "has {} entries; give four: [F, C, H, W]", c.data.clip_shape.size());
  }
  require_range("data.caption_dropout", c.data.caption_dropout, 0, 1, false);
  require_at_least("data.loader_threads", c.data.loader_threads, 1);
  require_at_least("data.prefetch_batches", c.data.prefetch_batches, 1);
  validate_make(c.data.make, "data.make", c);
  validate_make(c.data.make_validation, "data.make_validation", c);
  if (is_made(c.data.make_validation) && c.data.validation_path.empty()) {
    fail_rule("data.validation_path", "is empty, but data.make_validation makes it; name the file");
  }
}

void validate_init(const TrainConfig& c, Purpose purpose) {
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
  const std::string& method = c.init.method;
  if (method.empty()) return;
  require_one_of("init.method", method, {"random", "svd_weight"});
  if (!c.model.is_mla()) {
    fail_rule("init.method",
              "{} converts to latent attention, but model.attention is dense; remove it or use mla",
              method);
  }
  if (method == "svd_weight" && !c.init_from.contains("generator")) {
    fail_rule(
        "init.method", "{} starts from dense weights; name them in init_from.generator", method);
  }
  // `o` is taken over from the dense model, and svd_weight keeps every dense query/key channel,
  // rotated or not.
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
  if (method == "svd_weight" && kept != c.model.head_dim()) {
    fail_rule("model.qk_nope_head_dim",
              "{} + qk_rope_head_dim ({}) is {}, but svd_weight keeps the dense head of {} "
              "channels; use {}",
              c.model.qk_nope_head_dim,
              c.model.qk_rope_head_dim,
              kept,
              c.model.head_dim(),
              c.model.head_dim() - c.model.qk_rope_head_dim);
  }
}

void validate_train(const TrainConfig& c) {
  const auto& t = c.train;
  require_at_least("train.steps", t.steps, 1);
  require_at_least("train.batch_size", t.batch_size, 1);
  require_at_least("train.micro_batch_size", t.micro_batch_size, 0);
  // What several ranks make of it is checked when their number is known (mesh_shape).
  if (t.micro_batch_size > 0 && t.batch_size % t.micro_batch_size != 0) {
    fail_rule(
        "train.micro_batch_size",
        "{} does not divide train.batch_size ({}); the batch is a whole number of micro batches",
        t.micro_batch_size,
        t.batch_size);
  }
  require_one_of("train.precision", t.precision, {"fp32", "bf16", "fp64"});
  require_one_of("train.recompute", t.recompute, {"none", "block"});
  require_one_of("train.device", t.device, {"cpu", "cuda"});
  require_at_least("train.threads", t.threads, 0);
  require_at_least("train.log_every", t.log_every, 1);
}

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
  if (!s.also_few_step.empty()) validate_steps("sample.also_few_step", s.also_few_step);
  require_at_least("sample.long_frames", s.long_frames, 0);
  require_at_least("sample.long_clips", s.long_clips, 1);
  if (s.guidance_scale < 0)
    fail_rule(
        "sample.guidance_scale", "{} is negative; 1 means no guidance", shortest(s.guidance_scale));
}

// A stage's name is a folder's name in a pipeline's run folder.
void validate_stage_name(const std::string& name) {
  const bool good = !name.empty() && name[0] != '.' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char ch) {
                      return std::isalnum(ch) || ch == '_' || ch == '-' || ch == '.';
                    });
  if (!good)
    fail_rule("stage", "'{}' is no folder name; use letters, digits, '_', '-' and '.'", name);
}

}  // namespace

int64_t known_latent_frames(const TrainConfig& c) {
  // The built-in codec keeps every frame.
  return is_made(c.data.make) && codec_geometry(c.data.make.codec) ? c.data.make.frames : 0;
}

void validate_config(const TrainConfig& c, Purpose purpose) {
  validate_stage_name(c.stage);
  model::validate_model(c.model, "model");
  validate_objective(c);
  validate_init(c, purpose);
  if (purpose != Purpose::kStep) validate_data(c);
  validate_train(c);
  validate_optimizer(c.optimizer, "optimizer", c.train.steps);
  validate_observers(c);
  validate_sample(c);
  validate_distributed(c);
}

}  // namespace vmla::trainer
