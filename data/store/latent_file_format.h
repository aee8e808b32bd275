#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// What a latent dataset file holds besides its numbers (docs/formats.md). No HDF5 and no LibTorch
/// here.
namespace vmla::data {

inline constexpr int64_t kLatentFormatVersion = 1;

/// The root attributes and the shape of a clip: equal in all files of a dataset. A prompt set may
/// say what clips its prompts are for; `codec` is empty and the sizes are 0 if it does not.
struct LatentInfo {
  std::string codec, codec_hash;
  std::string text_encoder, text_encoder_hash;
  double fps = 0;  // pixel frames a second
  int64_t pixel_height = 0, pixel_width = 0;
  int64_t pixel_frames = 0;         // of a clip
  std::vector<int64_t> clip_shape;  // [F, C, H, W]; may be empty in a prompt set
  bool has_latents = true;          // false: a prompt set
  std::vector<double> ode_times;    // timesteps of the states in /ode; empty: there is none
  bool ode_fp32 = false;            // states as floats instead of bf16 bits
  int64_t text_dim = 0;
  std::string origin;  // in words: what computed the clips or states, with which settings; or empty
  bool operator==(const LatentInfo&) const = default;
};

/// Where a clip comes from and what it shows.
struct ClipRecord {
  std::string caption;
  std::string source_file;  // relative to the folder of videos; empty in a prompt set
  int64_t first_frame = 0;  // at the dataset's fps
  int64_t text_rows = 0;    // T of its embedding
};

/// A video that was left out, wholly or from some point on.
struct SkippedVideo {
  std::string file;
  std::string reason;
};

/// Only in the parts of an unfinished dataset: the job they belong to and the videos they cover.
struct PartInfo {
  std::string job;  // hash of settings and inputs
  int64_t first_video = 0, end_video = 0;
  std::vector<SkippedVideo> skipped;
};

}  // namespace vmla::data
