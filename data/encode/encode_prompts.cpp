#include "data/encode/encode_prompts.h"

#include <chrono>

#include "data/encode/encode_parts.h"
#include "data/encode/job_fingerprint.h"
#include "data/encode/job_progress.h"
#include "model/codec/text_encoder.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"

namespace vmla::data {
namespace {

std::string fingerprint_of(const PromptsOptions& options, const LatentInfo& info) {
  JobFingerprint job;
  job.line("prompts");
  job.line(info.text_encoder_hash);
  job.line(info.codec);
  job.line(info.codec_hash);
  job.line(info.fps, info.pixel_height, info.pixel_width, info.pixel_frames, info.clip_shape);
  if (options.negative_prompt) job.record("negative prompt", *options.negative_prompt);
  for (const std::string& prompt : options.prompts) job.line(prompt);
  return job.hash();
}

/// The info of the clips that the prompts are for, as that of a dataset without them.
LatentInfo info_of(const PromptsOptions& options, const model::TextEncoder& text) {
  LatentInfo info = options.clips;
  info.has_latents = false;
  info.ode_times.clear();
  info.ode_fp32 = false;
  info.origin.clear();
  info.scene.clear();
  set_text_encoder(info, text);
  info.negative_prompt.clear(), info.negative_text.clear();
  if (options.negative_prompt) set_negative_prompt(info, text, *options.negative_prompt);
  return info;
}

}  // namespace

PromptsReport encode_prompts(const PromptsOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  if (options.prompts.empty()) fail_user("{}: no prompts to embed", options.out.string());
  const auto text = model::make_text_encoder(options.text, options.text_options);
  const auto claim = claim_output(options.out, options.overwrite);
  const LatentInfo info = info_of(options, *text);
  EncodeParts parts({.out = options.out,
                     .info = info,
                     .empty_text = text_rows(*text, ""),
                     .fingerprint = fingerprint_of(options, info),
                     .part_seconds = options.part_seconds});
  PromptsReport done;
  done.prompts = static_cast<int64_t>(options.prompts.size());
  done.resumed = parts.end_video();
  JobProgress progress("embed", "prompts", static_cast<long>(done.prompts));
  progress.update(static_cast<long>(done.resumed));
  io::GracefulStop stop([&] { return commit_at_stop(parts, done.prompts, "prompt"); });
  for (int64_t i = done.resumed; i < done.prompts; ++i) {
    const std::string& prompt = options.prompts[static_cast<size_t>(i)];
    EncodedClip clip;
    set_caption(clip, prompt, text_rows(*text, prompt), info.text_dim);
    parts.add_video(std::move(clip));
    progress.update(static_cast<long>(i + 1));
    stop.check();
  }
  parts.merge();
  done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return done;
}

}  // namespace vmla::data
