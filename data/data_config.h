#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/synth/mosaic_config.h"

namespace vmla::data {

/// How the dataset of a stage is made when it is missing (data/make_dataset.h): from videos, which
/// exist or are rendered first; or from prompts, as a set without clips.
struct MakeConfig {
  int64_t synth_count = 0;     // clips of moving shapes to render; 0: `videos` must exist
  bool held_out = false;       // the held-out caption combinations, or clips, instead of the others
  int64_t hold_out_every = 0;  // of existing videos: every K-th clip is held out; 0: none
  std::string videos;          // folder of videos; rendered into when synth_count > 0
  std::string prompts;         // instead of clips: a prompts file, or kMovingShapes
  std::string codec = "space_to_depth:2";
  std::string text = "hashing:32x8";
  int64_t frames = 9;        // pixel frames of a clip
  int64_t size_height = 16;  // pixels after resize and crop
  int64_t size_width = 16;
  double fps = 8.0;  // frames a second, after resampling in time
  int64_t seed = 0;  // of the synthetic clips
  std::string scene = kShapes;
  MosaicConfig mosaic;  // where that is the scene

  static constexpr const char* kShapes = "shapes";
  static constexpr const char* kMosaic = "mosaic";
  /// `prompts` that stand for the captions of the synthetic clips.
  static constexpr const char* kMovingShapes = "moving_shapes";
  /// False if the section is empty: the dataset must exist then.
  bool makes_something() const { return synth_count > 0 || !videos.empty() || !prompts.empty(); }

  /// The ground behind the shapes that are rendered, if there is one.
  std::optional<MosaicConfig> rendered_mosaic() const {
    return synth_count > 0 && scene == kMosaic ? std::optional(mosaic) : std::nullopt;
  }

  bool operator==(const MakeConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("synth_count",
      c.synth_count,
      "clips of moving shapes to render into `videos`; 0: none, the videos exist");
    v("held_out",
      c.held_out,
      "true: take the 12 held-out captions of the moving shapes, or the held-out clips of videos, "
      "instead of the others");
    v("hold_out_every",
      c.hold_out_every,
      "of existing videos: every K-th clip is held out, and taken where held_out is true; at least "
      "2, or 0: none");
    v("videos", c.videos, "folder of videos with their captions (docs/formats.md)");
    v("prompts",
      c.prompts,
      "instead of clips, prompts alone: the path of a text file with one a line, or moving_shapes "
      "for the captions of the synthetic clips (60, or the 12 held-out ones)");
    v("codec",
      c.codec,
      "video codec that turns pixels into latents: space_to_depth:N, blocks of N x N pixels into 3 "
      "N^2 channels; or wan-vae, whose weights are data.codec_weights");
    v("text",
      c.text,
      "text encoder: hashing:DxT, at most T embeddings of width D, one per word; or umt5, Wan's, "
      "whose files data.text_weights and data.tokenizer name");
    v("frames", c.frames, "pixel frames of a clip");
    v("size_height", c.size_height, "pixel rows of a clip after resize and crop");
    v("size_width", c.size_width, "pixel columns of a clip after resize and crop");
    v("fps", c.fps, "frames per second after resampling in time; above 0");
    v("seed", c.seed, "seed of the synthetic clips, 0 or more");
    v("scene",
      c.scene,
      "what the synthetic clips show: shapes on a dark background, or before a random ground that "
      "no "
      "caption names (mosaic)");
    v("mosaic", c.mosaic, "The ground, where the scene is the mosaic.");
  }
};

/// The section `data` of a stage: what it trains on and validates with.
struct DataConfig {
  std::string path;             // HDF5 file, or a folder of them
  std::string validation_path;  // held-out clips
  /// [F, C, H, W] of a clip's latents; empty: what the dataset says.
  std::vector<int64_t> clip_shape;
  std::string codec_weights;      // of the clips' codec, if it has any
  MakeConfig make;                // how to make `path` when it is missing
  MakeConfig make_validation;     // the same for `validation_path`
  std::string text_weights;       // of the text encoder, if it has any
  std::string tokenizer;          // likewise
  bool allow_other_data = false;  // a resumed run may go on with other clips than before
  double caption_dropout = 0.0;   // probability that a caption gives way to the empty prompt
  int64_t loader_threads = 1;     // that read ahead
  int64_t prefetch_batches = 2;   // the loader holds no more than this many batches

  bool operator==(const DataConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("path", c.path, "latent dataset: an HDF5 file, or a folder of them (docs/formats.md)");
    v("validation_path", c.validation_path, "dataset of held-out clips; empty: none");
    v("clip_shape",
      c.clip_shape,
      "[F, C, H, W] of a clip's latents: frames, channels, rows, columns; checked against the "
      "dataset, and enough for --dry-run; empty: what the dataset says");
    v("codec_weights",
      c.codec_weights,
      "weights of the clips' codec, a file or folder; needed to sample, and to make clips, if the "
      "codec is wan-vae");
    v("make",
      c.make,
      "How `data.path` is made when it is missing: rendered or existing videos are encoded, or "
      "prompts are.");
    v("make_validation",
      c.make_validation,
      "How `data.validation_path` is made when it is missing.");
    v("text_weights",
      c.text_weights,
      "weights of the text encoder umt5, for `make` and for prompts that are sampled: a file in "
      "Wan's "
      "or transformers' names, or a folder with config.json");
    v("tokenizer",
      c.tokenizer,
      "tokenizer of the text encoder umt5: spiece.model, or the folder that holds it");
    v("allow_other_data",
      c.allow_other_data,
      "true: a resumed run may go on with other clips or prompts in data.path than it had before");
    v("caption_dropout",
      c.caption_dropout,
      "probability that a clip is seen with the empty prompt, which guidance needs; 0 to 1");
    v("loader_threads", c.loader_threads, "threads that read clips ahead; at least 1");
    v("prefetch_batches", c.prefetch_batches, "batches that are read ahead at most; at least 1");
  }
};

}  // namespace vmla::data
