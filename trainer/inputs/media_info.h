#pragma once

#include "data/store/latent_file_format.h"
#include "model/io/checkpoint_manifest.h"
#include "trainer/objectives/objective.h"

#include <map>
#include <optional>
#include <string>

namespace vmla::trainer {

/// What is needed to turn prompts into text embeddings and latents into pixels: where the training
/// data came from. Stored in every checkpoint, so that a model can be sampled without its dataset.
struct MediaInfo {
  std::string codec, text_encoder;
  double fps = 0;
  int64_t pixel_height = 0, pixel_width = 0;
  ClipShape clip{};  // of a training clip, in latents
};

MediaInfo media_info(const data::LatentInfo& dataset);
void write_media_info(const MediaInfo& media, std::map<std::string, io::ManifestValue>& values);
/// UserError, with `source` in front, when a key is missing.
MediaInfo read_media_info(const std::map<std::string, io::ManifestValue>& values,
                          const std::string& source);

/// What the checkpoint at `path` says; nothing when `path` is no checkpoint of a training run.
std::optional<MediaInfo> checkpoint_media(const std::string& path);

}  // namespace vmla::trainer
