#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "data/encode/encoded_clip.h"
#include "data/import/import_latents.h"
#include "data/import/latent_source.h"
#include "data/import/ode_states.h"
#include "model/codec/text_encoder.h"

namespace vmla::data {

/// What embeds captions.
struct CaptionTexts {
  std::unique_ptr<model::TextEncoder> encoder;  // null: all embeddings are stored
  int64_t width = 0;                            // of an embedding's row
};

/// The encoder that the options name; none where it has weights, none are given and every row has
/// an embedding. Says in `info` what it is. UserError as make_text_encoder().
CaptionTexts make_caption_texts(const ImportOptions& options,
                                const LatentSource& source,
                                LatentInfo& info);

/// The embeddings of the captions from row `first` to before `end`; undefined where one is stored.
std::vector<at::Tensor> computed_texts(const LatentSource& source,
                                       const CaptionTexts& texts,
                                       size_t first,
                                       size_t end);

/// Row `row` as a clip, or why it is none. `computed`: its caption's embedding where none is
/// stored.
std::variant<EncodedClip, std::string> import_clip(size_t row,
                                                   const ImportOptions& options,
                                                   LatentSource& source,
                                                   const OdeStates& states,
                                                   const CaptionTexts& texts,
                                                   const at::Tensor& computed);

}  // namespace vmla::data
