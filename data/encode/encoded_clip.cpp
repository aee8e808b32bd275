#include "data/encode/encoded_clip.h"

#include <ATen/ATen.h>

#include <utility>

#include "model/codec/text_encoder.h"

namespace vmla::data {

void set_latents(EncodedClip& clip, const at::Tensor& latents_FCHW) {
  const at::Tensor rounded = latents_FCHW.to(at::kBFloat16).contiguous();
  clip.shape = rounded.sizes().vec();
  const auto* bits = static_cast<const uint16_t*>(rounded.const_data_ptr());
  clip.latents.assign(bits, bits + rounded.numel());
}

void set_caption(EncodedClip& clip,
                 const std::string& caption,
                 std::vector<float> rows,
                 int64_t text_dim) {
  clip.record.caption = caption;
  clip.text = std::move(rows);
  clip.record.text_rows = static_cast<int64_t>(clip.text.size()) / text_dim;
}

std::vector<float> text_rows(const model::TextEncoder& encoder, const std::string& prompt) {
  const at::Tensor rows = encoder.encode(prompt).to(at::kFloat).contiguous();
  const float* values = rows.const_data_ptr<float>();
  return {values, values + rows.numel()};
}

void set_negative_prompt(LatentInfo& info,
                         const model::TextEncoder& encoder,
                         const std::string& prompt) {
  info.negative_prompt = prompt;
  info.negative_text = text_rows(encoder, prompt);
}

void set_text_encoder(LatentInfo& info, const model::TextEncoder& encoder) {
  info.text_encoder = encoder.name();
  info.text_encoder_hash = encoder.hash();
  info.text_dim = encoder.text_dim();
}

}  // namespace vmla::data
