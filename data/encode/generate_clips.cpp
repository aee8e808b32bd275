#include "data/encode/generate_clips.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "model/codec/text_encoder.h"
#include "model/io/error.h"
#include "model/io/sha256.h"

namespace vmla::data {
namespace {

/// Everything that decides the result, in one hash.
std::string job_hash(const GenerateOptions& options, const LatentInfo& info) {
  std::ostringstream text;
  text << std::setprecision(17) << "generate\n"
       << options.teacher << '\n'
       << options.prompts_name << '\n'
       << options.count_per_prompt << ' ' << options.batch << '\n'
       << info.codec_hash << '\n'
       << info.text_encoder_hash << '\n'
       << info.fps << ' ' << info.pixel_height << ' ' << info.pixel_width << ' '
       << info.pixel_frames << '\n';
  for (const int64_t size : info.clip_shape) text << size << ' ';
  for (const std::string& prompt : options.prompts) text << '\n' << prompt;
  return io::sha256_hex(text.str().data(), text.str().size());
}

at::Tensor padded_texts(const std::vector<at::Tensor>& texts) {
  int64_t rows = 0;
  for (const at::Tensor& text : texts) rows = std::max(rows, text.size(0));
  std::vector<at::Tensor> padded;
  for (const at::Tensor& text : texts)
    padded.push_back(at::constant_pad_nd(text, {0, 0, 0, rows - text.size(0)}));
  return at::stack(padded);
}

}  // namespace

ComputedClips generate_clips(const GenerateOptions& options, const ClipSampler& sample) {
  TORCH_CHECK(options.batch > 0 && options.count_per_prompt > 0, "batch and count are counts");
  if (options.prompts.empty())
    fail_user("{}: no prompts to sample clips for", options.out.string());
  const auto text = model::make_text_encoder(options.text);
  const auto claim = claim_output(options.out, options.overwrite);
  LatentInfo info = options.clips;
  info.has_latents = true;
  info.text_encoder = text->name();
  info.text_encoder_hash = text->hash();
  info.text_dim = text->text_dim();
  info.origin = options.origin;
  EncodeParts parts(
      options.out, info, text_rows(*text, ""), job_hash(options, info), options.part_seconds);
  const int64_t clips = static_cast<int64_t>(options.prompts.size()) * options.count_per_prompt;
  const auto prompt_of = [&](int64_t clip) { return clip / options.count_per_prompt; };
  return compute_clips(parts, clips, options.batch, "generate", [&](int64_t first, int64_t count) {
    std::vector<at::Tensor> texts;
    for (int64_t clip = first; clip < first + count; ++clip) {
      const auto prompt = static_cast<size_t>(prompt_of(clip));
      texts.push_back(text->encode(options.prompts[prompt]).to(at::kFloat));
    }
    return [&, first, latents = sample(padded_texts(texts), first)](int64_t b) {
      const int64_t prompt = prompt_of(first + b);
      const std::string& caption = options.prompts[static_cast<size_t>(prompt)];
      if (!at::isfinite(latents[b]).all().item<bool>()) {
        fail_run("the clip for \"{}\" has NaN or infinite values; {} was not written",
                 caption,
                 options.out.string());
      }
      EncodedClip clip;
      set_latents(clip, latents[b]);
      clip.record.caption = caption;
      clip.record.source_file = formatted("{}:{}", options.prompts_name, prompt + 1);
      clip.text = text_rows(*text, caption);
      clip.record.text_rows = static_cast<int64_t>(clip.text.size()) / info.text_dim;
      return clip;
    };
  });
}

}  // namespace vmla::data
