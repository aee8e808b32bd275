#include "trainer/config/validate_data.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "model/codec/codec_options.h"
#include "model/config/config_rule.h"
#include "trainer/config/config_rules.h"

namespace vmla::trainer {
namespace {

std::optional<int64_t> positive_int(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

// What `text` says of the embeddings that the hashing text encoder makes: hashing:DIMxROWS.
struct TextGeometry {
  std::optional<int64_t> dim, rows;
};

TextGeometry text_geometry(const std::string& name) {
  const std::string prefix = "hashing:";
  const size_t cross = name.find('x');
  if (!name.starts_with(prefix) || cross == std::string::npos) return {};
  const std::string_view text(name);
  return {positive_int(text.substr(prefix.size(), cross - prefix.size())),
          positive_int(text.substr(cross + 1))};
}

// Latent channels and whole tokens, where the codec's name states them.
void validate_codec(const data::MakeConfig& make,
                    const std::string& section,
                    const TrainConfig& c) {
  model::CodecGeometry codec;
  try {
    codec = model::codec_geometry(make.codec);
  } catch (const UserError& error) {
    fail_rule(section + ".codec", "{}", error.what());
  }
  for (const auto& [key, channels] :
       {std::pair{"model.in_dim", c.model.in_dim}, {"model.out_dim", c.model.out_dim}}) {
    if (channels == codec.latent_channels) continue;
    fail_rule(key,
              "{} channels, but {}.codec {} gives {}",
              channels,
              section,
              make.codec,
              codec.latent_channels);
  }
  const int64_t fitting = codec.pixel_frames(codec.latent_frames(make.frames));
  if (fitting != make.frames) {
    fail_rule(section + ".frames",
              "{}: codec {} encodes {} frames and the like",
              make.frames,
              make.codec,
              fitting);
  }
  const std::pair<std::string, int64_t> sides[] = {{".size_height", make.size_height},
                                                   {".size_width", make.size_width}};
  for (size_t i = 0; i < 2; ++i) {
    // patch_size is (time, height, width).
    const int64_t patch = c.model.patch_size[i + 1];
    const int64_t token = codec.spatial_factor * patch;
    if (sides[i].second % token == 0) continue;
    fail_rule(section + sides[i].first,
              "{} pixels: a token covers {} (codec {} x patch {}); use a multiple of {}",
              sides[i].second,
              token,
              codec.spatial_factor,
              patch,
              token);
  }
}

void validate_text(const data::MakeConfig& make, const std::string& section, const TrainConfig& c) {
  const TextGeometry text = text_geometry(make.text);
  if (text.dim && *text.dim != c.model.text_dim) {
    fail_rule("model.text_dim",
              "{}, but {}.text {} gives {}",
              c.model.text_dim,
              section,
              make.text,
              *text.dim);
  }
  if (text.rows && *text.rows > c.model.text_len) {
    fail_rule("model.text_len",
              "{} rows, but {}.text {} gives up to {}",
              c.model.text_len,
              section,
              make.text,
              *text.rows);
  }
}

void validate_make(const data::MakeConfig& make, const std::string& section, const TrainConfig& c) {
  require_at_least(section + ".synth_count", make.synth_count, 0);
  if (!make.makes_something()) return;
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
  // Every clip held out (1) would leave none to train on.
  if (make.hold_out_every < 0 || make.hold_out_every == 1) {
    fail_rule(section + ".hold_out_every",
              "{}: must be 0 (hold out nothing) or at least 2",
              make.hold_out_every);
  }
  // Rendered clips need no hold_out_every: which captions are held out is fixed.
  if (!make.videos.empty() && make.synth_count == 0 && make.held_out && make.hold_out_every == 0) {
    fail_rule(section + ".held_out",
              "true, but {}.hold_out_every does not say which clips of the videos are held out",
              section);
  }
  require_at_least(section + ".frames", make.frames, 1);
  require_at_least(section + ".size_height", make.size_height, 1);
  require_at_least(section + ".size_width", make.size_width, 1);
  require_positive(section + ".fps", make.fps);
  require_one_of(
      section + ".scene", make.scene, {data::MakeConfig::kShapes, data::MakeConfig::kMosaic});
  if (const auto mosaic = make.rendered_mosaic()) {
    // The clip's smaller side, and the larger one is a multiple of a pixel too.
    const int64_t side = std::min(make.size_height, make.size_width);
    if (const auto problem = data::mosaic_problem(*mosaic, make.frames, side)) {
      fail_rule(section + ".mosaic." + problem->first, "{}", problem->second);
    }
  }
  validate_codec(make, section, c);
  validate_text(make, section, c);
}

}  // namespace

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
  if (c.data.make_validation.makes_something() && c.data.validation_path.empty()) {
    fail_rule("data.validation_path", "is empty, but data.make_validation makes it; name the file");
  }
}

int64_t known_latent_frames(const TrainConfig& c) {
  const data::MakeConfig& make = c.data.make;
  return make.makes_something() ? model::codec_geometry(make.codec).latent_frames(make.frames) : 0;
}

}  // namespace vmla::trainer
