#pragma once

#include "data/data_config.h"
#include "data/store/latent_file_format.h"
#include "model/codec/text_encoder.h"
#include "model/io/checkpoint_manifest.h"
#include "trainer/objectives/objective.h"

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace vmla::trainer {

/// How the training data were encoded, and the size of a clip. With this a model can be sampled
/// without its dataset: prompts become text embeddings, and latents become pixels, as in training.
/// Every checkpoint holds it, among the values of its data position (docs/formats.md).
struct MediaInfo {
  /// Names as model::make_video_codec and model::make_text_encoder take them.
  std::string codec, text_encoder;
  /// VideoCodec::hash() of the codec of the clips; empty where a checkpoint does not say it.
  std::string codec_hash = {};
  /// Of the text encoder (TextEncoder::hash); empty: not known, in checkpoints of earlier versions.
  std::string text_encoder_hash = {};
  /// Of the videos that the clips were cut from, in frames a second and in pixels.
  double fps = 0;
  int64_t pixel_height = 0, pixel_width = 0;
  /// Latents of a training clip.
  ClipShape clip{};
};

/// The text encoder of the data. UserError if it is another than theirs, by its hash: embeddings of
/// other weights mean nothing to a model.
std::unique_ptr<model::TextEncoder> open_text_encoder(const MediaInfo& media,
                                                      const model::TextEncoderOptions& options);

/// Where a stage's configuration says that its text encoder's files are.
model::TextEncoderOptions text_encoder_options(const data::DataConfig& config);

/// What a dataset of clips says of itself.
MediaInfo media_info(const data::LatentInfo& dataset);

/// Adds it to a checkpoint's values; keys that are there already are replaced.
void write_media_info(const MediaInfo& media, std::map<std::string, io::ManifestValue>& values);

/// The counterpart of write_media_info. UserError, with `source` in front, where a key is missing.
MediaInfo read_media_info(const std::map<std::string, io::ManifestValue>& values,
                          const std::string& source);

/// What the checkpoint at `path` (a step folder, a run folder or its checkpoints folder) says;
/// nothing where `path` is no checkpoint, such as a folder of published weights.
std::optional<MediaInfo> checkpoint_media(const std::string& path);

}  // namespace vmla::trainer
