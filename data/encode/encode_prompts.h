#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/store/latent_file_format.h"
#include "model/codec/text_encoder_options.h"

namespace vmla::data {

/// One `vmla data prompts`.
struct PromptsOptions {
  std::vector<std::string> prompts;  // data/encode/prompt_file.h
  std::filesystem::path out;         // the prompt set
  std::string text = "hashing:32x8";
  model::TextEncoderOptions text_options;
  /// The clips these prompts are for: codec, sizes, fps. May say nothing.
  LatentInfo clips;
  std::optional<std::string> negative_prompt;  // whose embedding is stored besides
  double part_seconds = 15;                    // what a kill may cost
  bool overwrite = false;                      // replace an existing `out`
};

struct PromptsReport {
  int64_t prompts = 0;
  int64_t resumed = 0;  // of them found done by an earlier, killed job
  double seconds = 0;
};

/// Embeds prompts into a dataset without /latents. Atomic and resumable as
/// data/encode/encode_videos.h. UserError for no prompts or an `out` that exists; what was there is
/// then untouched.
PromptsReport encode_prompts(const PromptsOptions& options);

}  // namespace vmla::data
