#include "data/make_dataset.h"

#include "data/encode/clips_of_codec.h"
#include "data/encode/encode_prompts.h"
#include "data/encode/encode_videos.h"
#include "data/encode/prompt_file.h"
#include "data/store/latent_dataset.h"
#include "data/synth/moving_shapes.h"
#include "data/synth/synth_videos.h"
#include "model/codec/video_codec.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/file_lock.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> prompts_of(const MakeConfig& config) {
  if (config.prompts != MakeConfig::kMovingShapes) return read_prompt_file(config.prompts);
  std::vector<std::string> captions;
  for (const Combination& what : combinations(config.held_out)) {
    captions.push_back(caption_of(what));
  }
  return captions;
}

/// The prompts must be the wanted ones, in their order.
void check_prompts(const MakeConfig& config, const LatentDataset& dataset, const fs::path& path) {
  const std::vector<std::string> prompts = prompts_of(config);
  bool same = dataset.size() == static_cast<int64_t>(prompts.size());
  for (int64_t i = 0; same && i < dataset.size(); ++i) {
    same = dataset.caption(i) == prompts[static_cast<size_t>(i)];
  }
  if (!same) {
    fail_user(
        "{}: holds other prompts than the configuration (make.prompts: {}) wants; remove the file "
        "or change the key",
        path.string(),
        config.prompts);
  }
}

/// An existing dataset must be what the configuration would make, or training would not be what was
/// asked for.
void check_made(const MakeConfig& config, const fs::path& path, const model::CodecOptions& codec) {
  const LatentDataset dataset(path);
  const LatentInfo& info = dataset.info();
  const auto same = [&](const char* key, const auto& wanted, const auto& found) {
    if (wanted == found) return;
    const auto text = [](const auto& value) {
      if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(value)>>) {
        return formatted("{:g}", value);
      } else {
        return formatted("{}", value);
      }
    };
    fail_user(
        "{}: has {} {}, the configuration (make.{}) wants {}; remove the file or change the key",
        path.string(),
        key,
        text(found),
        key,
        text(wanted));
  };
  if (dataset.has_latents() && !config.prompts.empty()) {
    fail_user(
        "{}: holds clips, the configuration (make.prompts) wants prompts alone; remove the file or "
        "change the key",
        path.string());
  }
  if (!dataset.has_latents() && config.prompts.empty()) {
    fail_user(
        "{}: holds prompts alone, the configuration (make) wants clips; remove the file or change "
        "the configuration",
        path.string());
  }
  if (!config.prompts.empty()) check_prompts(config, dataset, path);
  same("codec", config.codec, info.codec);
  // A codec's weights need not be there to train on what they have made.
  if ((!model::codec_has_weights(config.codec) || !codec.weights.empty()) &&
      info.codec_hash != model::make_video_codec(config.codec, codec)->hash()) {
    fail_user(
        "{}: was encoded by another version, or other weights, of codec {}; remove it to have it "
        "made again",
        path.string(),
        info.codec);
  }
  same("text", config.text, info.text_encoder);
  same("frames", config.frames, info.pixel_frames);
  same("size_height", config.size_height, info.pixel_height);
  same("size_width", config.size_width, info.pixel_width);
  same("fps", config.fps, info.fps);
  check_scene(config, info, path);
  if (config.synth_count > 0) same("synth_count", config.synth_count, dataset.size());
}

void make_clips(const MakeConfig& config, const fs::path& path, const EncoderOptions& encoders) {
  EncodeOptions encode;
  encode.videos =
      config.videos.empty() ? fs::path(path).replace_extension(".videos") : fs::path(config.videos);
  if (config.synth_count > 0) {
    SynthOptions synth;
    synth.out = encode.videos;
    synth.count = config.synth_count;
    synth.frames = config.frames;
    synth.fps = config.fps;
    synth.seed = static_cast<uint64_t>(config.seed);
    synth.held_out = config.held_out;
    synth.mosaic = config.rendered_mosaic();
    log::info("rendering {} into {}", io::counted(synth.count, "clip"), synth.out.string());
    synth_videos(synth);
  }
  encode.out = path;
  encode.codec = config.codec;
  encode.codec_options = encoders.codec;
  encode.text = config.text;
  encode.text_options = encoders.text;
  encode.frames = config.frames;
  encode.height = config.size_height;
  encode.width = config.size_width;
  encode.fps = config.fps;
  if (config.synth_count == 0) {  // synthetic clips are held out by what they show
    encode.hold_out_every = config.hold_out_every;
    encode.held_out = config.held_out;
  }
  log::info("encoding {} into {}", encode.videos.string(), path.string());
  const EncodeReport report = encode_videos(encode);
  log::info("{}: {}", path.string(), io::counted(report.clips, "clip"));
}

void make_prompts(const MakeConfig& config, const fs::path& path, const EncoderOptions& encoders) {
  PromptsOptions options;
  options.prompts = prompts_of(config);
  options.out = path;
  options.text = config.text;
  options.text_options = encoders.text;
  options.clips = clips_of_codec(config.codec,
                                 {.frames = config.frames,
                                  .height = config.size_height,
                                  .width = config.size_width,
                                  .fps = config.fps},
                                 encoders.codec);
  const PromptsReport report = encode_prompts(options);
  log::info("{}: {}", path.string(), io::counted(report.prompts, "prompt"));
}

}  // namespace

void check_scene(const MakeConfig& config, const LatentInfo& info, const fs::path& path) {
  if (!config.prompts.empty() || config.synth_count == 0) return;
  const std::string wanted = scene_text(config.rendered_mosaic());
  if (info.scene == wanted) return;
  const auto said = [](const std::string& scene) {
    return scene.empty() ? std::string("no mosaic") : io::printable(scene);
  };
  fail_user(
      "{}: shows {}, the configuration (make.scene, make.mosaic) wants {}; remove the file, or "
      "change the keys or its path",
      path.string(),
      said(info.scene),
      said(wanted));
}

void make_dataset(const MakeConfig& config, const fs::path& path, const EncoderOptions& encoders) {
  std::error_code ignored;  // opening the file says what is wrong with it
  if (fs::is_directory(path, ignored)) {
    check_made(config, path, encoders.codec);
    return;
  }
  if (!config.makes_something()) {
    if (fs::exists(path, ignored)) return;
    fail_user(
        "{}: no such dataset, and data.make says neither synth_count nor videos nor prompts to "
        "make it from",
        path.string());
  }
  const auto lock = io::FileLock::wait(path.string() + ".making");
  if (fs::exists(path, ignored)) {
    check_made(config, path, encoders.codec);
    return;
  }
  if (config.prompts.empty()) {
    make_clips(config, path, encoders);
  } else {
    make_prompts(config, path, encoders);
  }
}

}  // namespace vmla::data
