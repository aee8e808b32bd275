#include "data/encode/encode_prompts.h"

#include <ATen/ATen.h>

#include <chrono>
#include <iomanip>
#include <sstream>

#include "data/encode/encode_parts.h"
#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/io/sha256.h"

namespace vmla::data {
namespace {

/// Everything that decides the result, in one hash.
std::string job_hash(const PromptsOptions& options, const LatentInfo& info) {
  std::ostringstream text;
  text << std::setprecision(17) << "prompts\n"
       << info.text_encoder_hash << '\n'
       << info.codec << '\n'
       << info.codec_hash << '\n'
       << info.fps << ' ' << info.pixel_height << ' ' << info.pixel_width << ' '
       << info.pixel_frames;
  for (const int64_t size : info.clip_shape) text << ' ' << size;
  text << '\n';
  for (const std::string& prompt : options.prompts) text << prompt << '\n';
  return io::sha256_hex(text.str().data(), text.str().size());
}

}  // namespace

PromptsReport encode_prompts(const PromptsOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  if (options.prompts.empty()) fail_user("{}: no prompts to embed", options.out.string());
  const auto text = model::make_text_encoder(options.text);
  const auto claim = claim_output(options.out, options.overwrite);

  LatentInfo info = options.clips;
  info.has_latents = false;
  info.ode_times.clear();
  info.ode_fp32 = false;
  info.origin.clear();
  info.text_encoder = text->name();
  info.text_encoder_hash = text->hash();
  info.text_dim = text->text_dim();
  EncodeParts parts(
      options.out, info, text_rows(*text, ""), job_hash(options, info), options.part_seconds);
  PromptsReport done;
  done.prompts = static_cast<int64_t>(options.prompts.size());
  done.resumed = parts.end_video();
  log::ProgressBar progress("prompts", static_cast<long>(done.prompts));
  for (int64_t i = done.resumed; i < done.prompts; ++i) {
    EncodedClip clip;
    clip.record.caption = options.prompts[static_cast<size_t>(i)];
    clip.text = text_rows(*text, clip.record.caption);
    clip.record.text_rows = static_cast<int64_t>(clip.text.size()) / info.text_dim;
    parts.add(std::move(clip));
    parts.end_of_video(std::nullopt);
    progress.update(static_cast<long>(i + 1));
  }
  parts.merge();
  done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return done;
}

LatentInfo clips_of_codec(
    const std::string& name, int64_t frames, int64_t height, int64_t width, double fps) {
  const auto codec = model::make_video_codec(name);
  const int64_t factor = codec->spatial_factor();
  if (height < 1 || width < 1 || height % factor != 0 || width % factor != 0) {
    fail_user("size {}x{} is no multiple of {}, what codec {} needs",
              height,
              width,
              factor,
              codec->name());
  }
  int64_t latent_frames = 1;
  while (codec->pixel_frames(latent_frames) < frames) ++latent_frames;
  if (codec->pixel_frames(latent_frames) != frames) {
    fail_user("frames is {}, codec {} makes clips of {} and the like",
              frames,
              codec->name(),
              codec->pixel_frames(latent_frames));
  }
  LatentInfo info;
  info.codec = codec->name();
  info.codec_hash = codec->hash();
  info.fps = fps;
  info.pixel_height = height;
  info.pixel_width = width;
  info.pixel_frames = frames;
  info.clip_shape = {latent_frames, codec->latent_channels(), height / factor, width / factor};
  return info;
}

}  // namespace vmla::data
