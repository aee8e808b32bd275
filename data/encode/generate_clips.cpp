#include "data/encode/generate_clips.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "data/encode/job_fingerprint.h"
#include "model/codec/text_encoder.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

std::string fingerprint_of(const GenerateOptions& options, const LatentInfo& info) {
  JobFingerprint job;
  job.line("generate");
  job.line(options.teacher);
  job.line(options.prompts_name);
  job.line(options.count_per_prompt, options.batch);
  job.line(info.codec_hash);
  job.line(info.text_encoder_hash);
  job.line(info.fps, info.pixel_height, info.pixel_width, info.pixel_frames);
  job.list(info.clip_shape);
  for (const std::string& prompt : options.prompts) {
    job.text("\n");
    job.text(prompt);
  }
  return job.hash();
}

/// [B, T, text_dim], T the most rows of any: zero rows behind shorter texts.
at::Tensor padded_texts(const std::vector<at::Tensor>& texts) {
  int64_t rows = 0;
  for (const at::Tensor& text : texts) rows = std::max(rows, text.size(0));
  std::vector<at::Tensor> padded;
  for (const at::Tensor& text : texts) {
    padded.push_back(at::constant_pad_nd(text, {0, 0, 0, rows - text.size(0)}));
  }
  return at::stack(padded);
}

}  // namespace

ComputedClips generate_clips(const GenerateOptions& options, const ClipSampler& sample) {
  TORCH_CHECK(options.batch > 0 && options.count_per_prompt > 0,
              "generated clips need a batch and a count per prompt above 0, got ",
              options.batch,
              " and ",
              options.count_per_prompt);
  if (options.prompts.empty()) {
    fail_user("{}: no prompts to sample clips for", options.out.string());
  }
  const auto text = model::make_text_encoder(options.text, options.text_options);
  const auto claim = claim_output(options.out, options.overwrite);
  LatentInfo info = options.clips;
  info.has_latents = true;
  set_text_encoder(info, *text);
  info.origin = options.origin;
  EncodeParts parts({.out = options.out,
                     .info = info,
                     .empty_text = text_rows(*text, ""),
                     .fingerprint = fingerprint_of(options, info),
                     .part_seconds = options.part_seconds});

  const auto line_of = [&](int64_t clip) { return clip / options.count_per_prompt; };
  const auto prompt_of = [&](int64_t clip) -> const std::string& {
    return options.prompts[static_cast<size_t>(line_of(clip))];
  };
  const ComputeBatch sample_batch = [&](int64_t first, int64_t count) {
    std::vector<at::Tensor> texts;
    for (int64_t clip = first; clip < first + count; ++clip) {
      texts.push_back(text->encode(prompt_of(clip)).to(at::kFloat));
    }
    const at::Tensor latents_BFCHW = sample(padded_texts(texts), first);
    return [&, first, latents_BFCHW](int64_t b) {
      const std::string& prompt = prompt_of(first + b);
      if (!at::isfinite(latents_BFCHW[b]).all().item<bool>()) {
        fail_run("the clip for \"{}\" has NaN or infinite values; {} was not written",
                 prompt,
                 options.out.string());
      }
      EncodedClip clip;
      set_latents(clip, latents_BFCHW[b]);
      set_caption(clip, prompt, text_rows(*text, prompt), info.text_dim);
      clip.record.source_file = formatted("{}:{}", options.prompts_name, line_of(first + b) + 1);
      return clip;
    };
  };
  const int64_t clips = static_cast<int64_t>(options.prompts.size()) * options.count_per_prompt;
  return compute_clips(
      parts, {.clips = clips, .batch = options.batch, .label = "generate"}, sample_batch);
}

}  // namespace vmla::data
