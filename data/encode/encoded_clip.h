#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/store/latent_file_format.h"

namespace vmla::model {
class TextEncoder;
}

namespace vmla::data {

/// A clip, or a prompt, ready to be stored. It owns its numbers: they wait for the part that they
/// are committed with.
struct EncodedClip {
  ClipRecord record;
  std::vector<int64_t> shape;     // [F, C, H, W]; empty for a prompt
  std::vector<uint16_t> latents;  // bf16 bits, F·C·H·W of them
  std::vector<std::byte> ode;     // states·F·C·H·W numbers, in the type that the file's info says
  std::vector<float> text;        // record.text_rows·text_dim
};

/// Puts [F, C, H, W] latents into the clip, rounded to bf16.
void set_latents(EncodedClip& clip, const at::Tensor& latents_FCHW);

/// Puts a caption and its embedding, rows of `text_dim`, into the clip.
void set_caption(EncodedClip& clip,
                 const std::string& caption,
                 std::vector<float> rows,
                 int64_t text_dim);

/// A prompt's embedding, rows of text_dim.
std::vector<float> text_rows(const model::TextEncoder& encoder, const std::string& prompt);

/// Puts a negative prompt and its embedding into `info`.
void set_negative_prompt(LatentInfo& info,
                         const model::TextEncoder& encoder,
                         const std::string& prompt);

/// Says in `info` which encoder embedded the captions.
void set_text_encoder(LatentInfo& info, const model::TextEncoder& encoder);

}  // namespace vmla::data
