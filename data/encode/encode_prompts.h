#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/store/latent_file_format.h"

namespace vmla::data {

/// One `vmla data prompts`.
struct PromptsOptions {
  std::vector<std::string> prompts;  // data/encode/prompt_file.h
  std::filesystem::path out;         // the prompt set
  std::string text = "hashing:32x8";
  LatentInfo clips;          // the clips these prompts are for: codec, sizes, fps; may say nothing
  double part_seconds = 15;  // what a kill may cost
  bool overwrite = false;    // replace an existing `out`
};

struct PromptsReport {
  int64_t prompts = 0;
  int64_t resumed = 0;  // of them found done by an earlier, killed job
  double seconds = 0;
};

/// Embeds prompts into a dataset without /latents. Atomic and resumable as
/// data/encode/clip_encoder.h. UserError for no prompts or an `out` that exists; what was there is
/// then untouched.
PromptsReport encode_prompts(const PromptsOptions& options);

/// What clips of `frames` pixel frames of height x width look like when `codec` has encoded them,
/// without encoding any. UserError if the codec takes no such clip.
LatentInfo clips_of_codec(
    const std::string& codec, int64_t frames, int64_t height, int64_t width, double fps);

}  // namespace vmla::data
