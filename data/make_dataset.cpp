#include "data/make_dataset.h"

#include "data/clip_encoder.h"
#include "data/latent_dataset.h"
#include "data/synth_videos.h"
#include "model/io/error.h"
#include "model/io/file_lock.h"
#include "model/io/log.h"
#include "model/video_codec.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// An existing dataset must be what the configuration would make, or training would not be what was
/// asked for.
void check_made(const MakeConfig& config, const fs::path& path) {
  const LatentDataset dataset(path);
  const LatentInfo& info = dataset.info();
  const auto same = [&](const char* key, const auto& wanted, const auto& found) {
    if (wanted == found) return;
    fail_user(path.string(),
              ": has ",
              key,
              " ",
              found,
              ", the configuration (make.",
              key,
              ") wants ",
              wanted,
              "; remove the file or change the key");
  };
  same("codec", config.codec, info.codec);
  if (info.codec_hash != model::make_video_codec(config.codec)->hash()) {
    fail_user(path.string(),
              ": was encoded by another version of codec ",
              info.codec,
              "; remove it to have it made again");
  }
  same("text", config.text, info.text_encoder);
  same("frames", config.frames, info.pixel_frames);
  same("size_height", config.size_height, info.pixel_height);
  same("size_width", config.size_width, info.pixel_width);
  same("fps", config.fps, info.fps);
  if (config.synth_count > 0) same("synth_count", config.synth_count, dataset.size());
}

}  // namespace

void make_dataset(const MakeConfig& config, const fs::path& path) {
  if (fs::is_directory(path)) {
    check_made(config, path);
    return;
  }
  if (config.synth_count <= 0 && config.videos.empty()) {
    if (fs::exists(path)) return;
    fail_user(
        path.string(),
        ": no such dataset, and data.make says neither synth_count nor videos to make it from");
  }
  const auto lock = io::FileLock::wait(path.string() + ".making");
  if (fs::exists(path)) {
    check_made(config, path);
    return;
  }
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
    log::info(cat("rendering ", synth.count, " clips into ", synth.out.string()));
    synth_videos(synth);
  }
  encode.out = path;
  encode.codec = config.codec;
  encode.text = config.text;
  encode.frames = config.frames;
  encode.height = config.size_height;
  encode.width = config.size_width;
  encode.fps = config.fps;
  if (config.synth_count == 0) {  // synthetic clips are held out by what they show
    encode.hold_out_every = config.hold_out_every;
    encode.held_out = config.held_out;
  }
  log::info(cat("encoding ", encode.videos.string(), " into ", path.string()));
  const EncodeReport report = encode_videos(encode);
  log::info(cat(path.string(), ": ", report.clips, " clips"));
}

}  // namespace vmla::data
