#include "trainer/inputs/stage_codec.h"

#include "model/config/config_rule.h"
#include "trainer/config/objective_config.h"

#include <filesystem>

namespace vmla::trainer {
namespace {

/// What in the stage turns latents into pixels, as a key with its value; empty: nothing.
std::string pixels_wanted_by(const TrainConfig& config, const ClipShape& clip) {
  const SampleConfig& sample = config.sample;
  if (sample.every > 0) return formatted("sample.every {}", sample.every);
  if (sample.measure_clips > 0) return formatted("sample.measure_clips {}", sample.measure_clips);
  if (sample.long_frames > 0) return formatted("sample.long_frames {}", sample.long_frames);
  // The frame in front of a later window is decoded and encoded anew (docs/algorithms.md 10.7).
  const int64_t rollout = objective_traits(config.objective).max_rollout_frames;
  if (rollout > clip.frames) return formatted("a rollout of {} latent frames", rollout);
  return "";
}

}  // namespace

model::CodecOptions codec_options(const TrainConfig& config) {
  return {.weights = config.data.codec_weights,
          .precision = config.train.precision == "bf16" ? "bf16" : "fp32",
          .device = config.train.device,
          .weights_option = "data.codec_weights"};
}

std::string held_codec(const TrainConfig& config, const std::string& codec, const ClipShape& clip) {
  const bool is_there = !model::codec_has_weights(codec) || !config.data.codec_weights.empty();
  return is_there || !pixels_wanted_by(config, clip).empty() ? codec : "";
}

std::shared_ptr<const model::VideoCodec> sizes_only_codec(const TrainConfig& config,
                                                          const std::string& name) {
  if (name.empty()) return nullptr;
  model::CodecOptions options = codec_options(config);
  options.device = "meta";
  const bool is_known = model::codec_has_weights(name) && !options.weights.empty() &&
                        std::filesystem::exists(options.weights);
  if (!is_known) options.weights.clear();
  return model::make_video_codec(name, options);
}

std::shared_ptr<const model::VideoCodec> stage_codec(const TrainConfig& config,
                                                     const MediaInfo& media) {
  const char* const key = "data.codec_weights";
  const bool has_weights = model::codec_has_weights(media.codec);
  if (held_codec(config, media.codec, media.clip).empty()) return nullptr;
  if (has_weights && config.data.codec_weights.empty()) {
    fail_rule(key,
              "is empty, but {} needs pixels; name the weights of {} that the clips were encoded "
              "with",
              pixels_wanted_by(config, media.clip),
              media.codec);
  }
  std::shared_ptr<const model::VideoCodec> codec =
      model::make_video_codec(media.codec, codec_options(config));
  if (has_weights && !media.codec_hash.empty() && codec->hash() != media.codec_hash) {
    fail_rule(key,
              "{}: are not the weights of {} that the clips were encoded with (hash {}, the clips' "
              "is {})",
              config.data.codec_weights,
              media.codec,
              codec->hash().substr(0, 12),
              media.codec_hash.substr(0, 12));
  }
  return codec;
}

}  // namespace vmla::trainer
