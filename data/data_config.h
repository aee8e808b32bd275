#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vmla::data {

/// How the data of a stage is made when it is missing: synthesise (or take) videos, then encode
/// them; or take prompts alone.
struct MakeConfig {
  int64_t synth_count = 0;     // clips of moving shapes to render; 0: `videos` must exist
  bool held_out = false;       // the held-out combinations, or clips, instead of the others
  int64_t hold_out_every = 0;  // of existing videos: every K-th clip is held out; 0: none
  std::string videos;          // folder of videos (rendered into, when synth_count > 0)
  std::string prompts;         // instead of clips: a prompts file, or kMovingShapes
  std::string codec = "space_to_depth:2";
  std::string text = "hashing:32x8";
  int64_t frames = 9;        // pixel frames of a clip
  int64_t size_height = 16;  // pixels after resize and crop
  int64_t size_width = 16;
  double fps = 8.0;  // after resampling in time
  int64_t seed = 0;

  static constexpr const char* kMovingShapes = "moving_shapes";
  /// False: the section says nothing, the dataset must exist.
  bool makes_something() const { return synth_count > 0 || !videos.empty() || !prompts.empty(); }

  bool operator==(const MakeConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("synth_count",
      c.synth_count,
      "clips of moving shapes to render; 0: the folder `videos` must exist");
    v("held_out",
      c.held_out,
      "take the 12 held-out caption combinations, or the held-out clips, instead of the others");
    v("hold_out_every",
      c.hold_out_every,
      "of existing videos: every K-th clip is held out, taken where held_out is true; 0: none");
    v("videos",
      c.videos,
      "folder of videos with their captions file; rendered into when synth_count > 0");
    v("prompts",
      c.prompts,
      "instead of clips, prompts alone: a text file with one a line, or moving_shapes for the "
      "captions of the synthetic clips (60, or the 12 held-out ones)");
    v("codec", c.codec, "video codec that turns pixels into latents");
    v("text", c.text, "text encoder");
    v("frames", c.frames, "pixel frames of a clip");
    v("size_height", c.size_height, "pixel rows after resize and crop");
    v("size_width", c.size_width, "pixel columns after resize and crop");
    v("fps", c.fps, "frames a second after resampling in time");
    v("seed", c.seed, "seed of the synthetic clips");
  }
};

struct DataConfig {
  std::string path;             // HDF5 file, or a folder of them
  std::string validation_path;  // held-out clips
  std::vector<int64_t>
      clip_shape;   // [F, C, H, W] of a clip's latents; empty: what the dataset says
  MakeConfig make;  // how to make `path` when it is missing (empty: it must exist)
  MakeConfig make_validation;
  double caption_dropout = 0.0;  // probability of the empty prompt
  int64_t loader_threads = 1;
  int64_t prefetch_batches = 2;  // the loader holds no more than this many batches

  bool operator==(const DataConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("path", c.path, "latent dataset: an HDF5 file or a folder of them");
    v("validation_path", c.validation_path, "held-out latent dataset");
    v("clip_shape",
      c.clip_shape,
      "latents of a clip, [F, C, H, W]: checked against the dataset, and enough for --dry-run");
    v("make", c.make, "how to make `path` when it is missing");
    v("make_validation", c.make_validation, "how to make `validation_path` when it is missing");
    v("caption_dropout",
      c.caption_dropout,
      "probability that a caption is replaced by the empty prompt");
    v("loader_threads", c.loader_threads, "threads that read ahead");
    v("prefetch_batches", c.prefetch_batches, "batches the loader holds at most");
  }
};

}  // namespace vmla::data
