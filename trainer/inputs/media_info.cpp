#include "trainer/inputs/media_info.h"

#include "model/formats/checkpoint_reader.h"
#include "model/io/error.h"
#include "trainer/config/config_node.h"

#include <charconv>
#include <filesystem>

namespace vmla::trainer {
namespace {

/// The value of `key`, of type T (int64_t or text). Other programs' checkpoints may have other
/// values.
template <class T>
const T& value_of(const std::map<std::string, io::ManifestValue>& values,
                  const std::string& key,
                  const std::string& source) {
  const auto found = values.find(key);
  if (found == values.end() || !std::holds_alternative<T>(found->second)) {
    fail_user(
        "{}: the checkpoint holds no '{}', so it was not written by vmla train; use one that "
        "was",
        source,
        key);
  }
  return std::get<T>(found->second);
}

}  // namespace

std::unique_ptr<model::TextEncoder> open_text_encoder(const MediaInfo& media,
                                                      const model::TextEncoderOptions& options) {
  auto encoder = model::make_text_encoder(media.text_encoder, options);
  // An encoder without weights is all in its name.
  if (model::text_encoder_has_weights(media.text_encoder) && !media.text_encoder_hash.empty() &&
      encoder->hash() != media.text_encoder_hash) {
    fail_user(
        "text encoder {}: the data were embedded by another one (hash {}, this one has {}); give "
        "its own files with {} and {}",
        media.text_encoder,
        media.text_encoder_hash.substr(0, 12),
        encoder->hash().substr(0, 12),
        options.weights_option,
        options.tokenizer_option);
  }
  return encoder;
}

model::TextEncoderOptions text_encoder_options(const data::DataConfig& config) {
  return {.weights = config.text_weights,
          .tokenizer = config.tokenizer,
          .weights_option = "data.text_weights",
          .tokenizer_option = "data.tokenizer"};
}

MediaInfo media_info(const data::LatentInfo& dataset) {
  return {.codec = dataset.codec,
          .text_encoder = dataset.text_encoder,
          .codec_hash = dataset.codec_hash,
          .text_encoder_hash = dataset.text_encoder_hash,
          .fps = dataset.fps,
          .pixel_height = dataset.pixel_height,
          .pixel_width = dataset.pixel_width,
          .clip = clip_shape_of(dataset.clip_shape)};
}

void write_media_info(const MediaInfo& media, std::map<std::string, io::ManifestValue>& values) {
  values["codec"] = media.codec;
  values["text_encoder"] = media.text_encoder;
  if (!media.codec_hash.empty()) values["codec_hash"] = media.codec_hash;
  if (!media.text_encoder_hash.empty()) values["text_encoder_hash"] = media.text_encoder_hash;
  values["fps"] = shortest(media.fps);  // a manifest holds whole numbers and texts
  values["pixel_height"] = media.pixel_height;
  values["pixel_width"] = media.pixel_width;
  values["clip_frames"] = media.clip.frames;
  values["clip_channels"] = media.clip.channels;
  values["clip_height"] = media.clip.height;
  values["clip_width"] = media.clip.width;
}

MediaInfo read_media_info(const std::map<std::string, io::ManifestValue>& values,
                          const std::string& source) {
  const auto text = [&](const char* key) { return value_of<std::string>(values, key, source); };
  const auto number = [&](const char* key) { return value_of<int64_t>(values, key, source); };
  MediaInfo media{.codec = text("codec"),
                  .text_encoder = text("text_encoder"),
                  .text_encoder_hash = values.contains("text_encoder_hash")
                                           ? text("text_encoder_hash")
                                           : std::string(),
                  .fps = 0,
                  .pixel_height = number("pixel_height"),
                  .pixel_width = number("pixel_width"),
                  .clip = {number("clip_frames"),
                           number("clip_channels"),
                           number("clip_height"),
                           number("clip_width")}};
  if (values.contains("codec_hash")) media.codec_hash = text("codec_hash");
  const std::string fps = text("fps");
  std::from_chars(fps.data(), fps.data() + fps.size(), media.fps);
  return media;
}

std::optional<MediaInfo> checkpoint_media(const std::string& path) {
  if (!std::filesystem::exists(path) || io::find_checkpoint(path).empty()) return std::nullopt;
  return read_media_info(model::open_checkpoint(path).manifest.data_position, path);
}

}  // namespace vmla::trainer
