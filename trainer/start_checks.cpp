#include "trainer/start_checks.h"

#include "data/encode/prompt_file.h"
#include "model/codec/text_encoder.h"
#include "model/config/axis_pairs.h"
#include "model/config/config_rule.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"
#include "trainer/evaluation/sampler_settings.h"

#include <ATen/core/Tensor.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

/// Calls `work`; a UserError of it gets `key` in front, and with it the place in the file.
template <class Work>
void with_key(const std::string& key, const Work& work) {
  try {
    work();
  } catch (const UserError& error) {
    fail_rule(key, "{}", error.what());
  }
}

/// What a dataset that is missing would be made from (data/make_dataset.h).
void check_made_from(const std::string& path,
                     const data::MakeConfig& make,
                     const std::string& section,
                     bool dry_run) {
  if (path.empty() || fs::exists(path)) return;
  if (!make.prompts.empty() && make.prompts != data::MakeConfig::kMovingShapes)
    with_key(section + ".prompts", [&] { data::read_prompt_file(make.prompts); });
  const bool needs_videos = make.prompts.empty() && make.synth_count == 0 && !make.videos.empty();
  if (!needs_videos || fs::is_directory(make.videos)) return;
  if (dry_run) {
    log::warn("{}.videos: {} is not on this machine; planned without it", section, make.videos);
    return;
  }
  fail_rule(section + ".videos",
            "{}: no such folder; name the one with the videos that {} is made from",
            make.videos,
            path);
}

void check_codec_weights(const std::string& path, bool dry_run) {
  if (path.empty() || fs::exists(path)) return;
  if (!dry_run) fail_rule("data.codec_weights", "{}: no such file or folder", path);
  log::warn("data.codec_weights: {} is not on this machine; planned without it", path);
}

/// The first folder on the way to `path` that exists must be one that can be written into.
void check_writable(const fs::path& path) {
  std::error_code error;
  fs::path existing = fs::absolute(path, error);
  while (!fs::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  if (!fs::is_directory(existing, error))
    fail_user("--run-dir {}: {} is no folder", path.string(), existing.string());
  if (access(existing.c_str(), W_OK | X_OK) != 0) {
    fail_user("--run-dir {}: cannot write into {}: {}",
              path.string(),
              existing.string(),
              std::strerror(errno));
  }
}

/// Attention is told places along an axis by the pairs that turn with it. By the rule for their
/// choice two pairs are both of time (docs/reproduce.md "How a head is split").
void warn_of_axes_without_pairs(const model::ModelConfig& model) {
  if (model.attention != "mla") return;
  std::vector<int64_t> pairs;
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    const std::vector<int64_t> own = model::rope_pairs(model, layer);
    pairs.insert(pairs.end(), own.begin(), own.end());
  }
  const std::array<int64_t, 3> counts = model::pairs_by_axis(model.head_dim(), pairs);
  constexpr std::array kAxes{"time", "rows", "columns"};
  std::string without;
  for (size_t axis = 0; axis < kAxes.size(); ++axis) {
    if (counts[axis] == 0) without += (without.empty() ? "" : " and ") + std::string(kAxes[axis]);
  }
  if (without.empty()) return;
  log::warn(
      "model.qk_rope_head_dim {}: no rotary pair is one of {}, so that tokens along it look alike; "
      "take 6 or more, or choose the pairs with model.rope_pair_indices",
      model.qk_rope_head_dim,
      without);
}

}  // namespace

void check_inputs(const TrainConfig& config, const fs::path& run_dir, bool dry_run) {
  with_key("sample.prompts", [&] { sample_prompts(config.sample); });
  check_made_from(config.data.path, config.data.make, "data.make", dry_run);
  check_made_from(
      config.data.validation_path, config.data.make_validation, "data.make_validation", dry_run);
  check_codec_weights(config.data.codec_weights, dry_run);
  check_writable(run_dir);
  warn_of_axes_without_pairs(config.model);
}

void check_prompt_texts(const TrainConfig& config, const MediaInfo& media) {
  const auto encoder = open_text_encoder(media, text_encoder_options(config.data));
  const auto check = [&](const std::string& key, const std::string& prompt) {
    const int64_t rows = encoder->rows(prompt);
    if (rows <= config.model.text_len) return;
    fail_rule(key,
              "the prompt {} has {} text rows, model.text_len is {}; shorten it",
              io::quoted_name(prompt),
              rows,
              config.model.text_len);
  };
  for (const std::string& prompt : sample_prompts(config.sample)) check("sample.prompts", prompt);
  check("sample.negative_prompt", config.sample.negative_prompt);
}

}  // namespace vmla::trainer
