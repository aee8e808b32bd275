#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/encode/computed_clips.h"
#include "data/store/latent_file_format.h"
#include "model/codec/text_encoder_options.h"

namespace vmla::data {

/// Samples a batch of clips, [B, F, C, H, W]: their texts are [B, T, text_dim] with zero rows
/// behind shorter ones, and the first of them has the number `first_clip`. A clip's noise must be a
/// function of its number.
using ClipSampler = std::function<at::Tensor(const at::Tensor& text_BTE, int64_t first_clip)>;

/// One `vmla data generate`.
struct GenerateOptions {
  std::vector<std::string> prompts;  // data/encode/prompt_file.h
  std::string prompts_name;          // the file's, for /source
  std::filesystem::path out;         // the dataset file
  int64_t count_per_prompt = 1;      // clips of a prompt; clip i shows prompt i / count_per_prompt
  int64_t batch = 1;                 // clips sampled at once
  std::string text;                  // text encoder
  model::TextEncoderOptions text_options;
  LatentInfo clips;          // codec, sizes, fps, clip_shape (data/encode/clips_of_codec.h)
  std::string teacher;       // everything else that decides the clips: weights, settings, seed
  std::string origin;        // the same in words, for the file
  double part_seconds = 15;  // what a kill may cost
  bool overwrite = false;    // replace an existing `out`
};

/// Samples a dataset. Atomic and resumable as data/encode/encode_videos.h; the file does not depend
/// on when a job was killed, as long as the batch is the same. /source names the prompts file and
/// the line in it (from 1). UserError without prompts, RunError if a clip is not finite.
ComputedClips generate_clips(const GenerateOptions& options, const ClipSampler& sample);

}  // namespace vmla::data
