#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// What a latent dataset file says besides its big numbers (docs/formats.md, Latent dataset).
namespace vmla::data {

inline constexpr int64_t kLatentFormatVersion = 1;

/// The root attributes and the shapes: equal in all files of a dataset, but for `origin`. A prompt
/// set may say what clips its prompts are for; if it does not, `codec` is empty and the sizes are
/// 0.
struct LatentInfo {
  // Names as make_video_codec and make_text_encoder take them, and hashes of what they compute.
  std::string codec, codec_hash;
  std::string text_encoder, text_encoder_hash;
  double fps = 0;                             // pixel frames a second
  int64_t pixel_height = 0, pixel_width = 0;  // of a clip before it was encoded
  int64_t pixel_frames = 0;
  std::vector<int64_t> clip_shape;  // [F, C, H, W] of its latents; may be empty in a prompt set
  bool has_latents = true;          // false: a prompt set
  std::vector<double> ode_times;    // timesteps of the states in /ode; empty: there is no /ode
  bool ode_fp32 = false;            // states are stored as floats instead of bf16 bits
  int64_t text_dim = 0;             // of an embedding's row
  /// A prompt that guidance steers away from, and its embedding, rows of text_dim; no rows: none is
  /// stored.
  std::string negative_prompt;
  std::vector<float> negative_text;
  /// In words: what computed the clips or states, with which settings. Empty for encoded videos.
  std::string origin;
  /// What the clips show, where that is known (scene_text, data/synth/mosaic_config.h); empty: it
  /// is not.
  std::string scene;
  bool operator==(const LatentInfo&) const = default;
};

/// Where a clip comes from and what it shows.
struct ClipRecord {
  std::string caption;
  std::string source_file;  // relative to the folder of videos; empty in a prompt set
  int64_t first_frame = 0;  // at the dataset's fps
  int64_t text_rows = 0;    // T of its embedding
};

/// A video of which no clip, or not every clip, could be made.
struct SkippedVideo {
  std::string file;
  std::string reason;
};

/// Only in the parts of an unfinished dataset: the job they belong to and the videos they cover.
struct PartInfo {
  std::string job;                         // its fingerprint: a hash of settings and inputs
  int64_t first_video = 0, end_video = 0;  // videos [first, end) of the job, by number
  std::vector<SkippedVideo> skipped;
};

}  // namespace vmla::data
