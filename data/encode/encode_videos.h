#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/encode/clip_size.h"
#include "data/store/latent_file_format.h"
#include "data/video/video_folder.h"
#include "model/codec/codec_options.h"
#include "model/codec/text_encoder_options.h"

namespace vmla::data {

/// One `vmla data encode`.
struct EncodeOptions {
  std::filesystem::path videos;  // a folder (data/video/video_folder.h)
  std::filesystem::path out;     // the dataset file; the folder of them where `sizes` are given
  std::string codec = "space_to_depth:2";
  model::CodecOptions codec_options;
  std::string text = "hashing:32x8";
  model::TextEncoderOptions text_options;
  std::optional<std::string> negative_prompt;  // whose embedding is stored besides
  int64_t frames = 9;                          // pixel frames of a clip
  int64_t height = 16, width = 16;
  /// Several sizes in place of height and width: each video is encoded at the one whose aspect
  /// ratio is nearest to its own.
  std::vector<ClipSize> sizes;
  double fps = 8;
  int64_t stride = 0;          // frames between the starts of two clips of a video; 0: `frames`
  int64_t max_clips = 0;       // of a video; 0: as many as fit
  int64_t hold_out_every = 0;  // K: every K-th clip of a video is held out; 0: none is
  bool held_out = false;       // take the held-out clips instead of the others
  double time_limit_seconds = 120;  // for decoding one video
  int64_t threads = 0;              // decoders at once; 0: one a core
  double part_seconds = 15;         // what a kill may cost; finished parts are kept
  bool overwrite = false;           // replace an existing `out`
  std::filesystem::path decoder;    // empty: vmla-decode beside this program
};

struct EncodeReport {
  int64_t clips = 0;
  int64_t videos = 0;                   // in the folder
  int64_t resumed_videos = 0;           // of them found done by an earlier, killed job
  std::vector<SkippedVideo> skipped;    // gave no clip, or not all
  std::vector<std::string> no_caption;  // encoded with the empty prompt
  std::vector<PassedOver> passed_over;  // of the folder: could not be looked at, or is not read
  double seconds = 0;
};

/// Decodes, encodes and stores a folder of videos. Finished parts lie in `out`.parts until all are
/// merged, so a killed job goes on where it was and ends with the same file, byte for byte. A
/// signal that asks to stop ends it with StopRequested, and what was encoded is in the parts. What
/// could not be read is logged (the first ten) and listed in NAME.skipped.csv beside NAME.h5.
/// UserError if no clip came out or settings contradict, RunError for a full disk; what was at
/// `out` before is then still there.
///
/// With `sizes`, `out` is a folder with a file HEIGHTxWIDTH.h5 for each size that some video is
/// nearest to, as data/store/clip_bucket.h takes it: it appears when all of them are complete.
/// Until then they lie in OUT.parts/clips, and their own parts beside them.
EncodeReport encode_videos(const EncodeOptions& options);

}  // namespace vmla::data
