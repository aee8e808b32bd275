#include "trainer/inputs/planned_media.h"

#include "data/store/latent_dataset.h"
#include "model/io/error.h"
#include "trainer/config/validate_data.h"
#include "trainer/inputs/stage_codec.h"
#include "trainer/inputs/stage_data.h"

#include <filesystem>

namespace vmla::trainer {
namespace {

/// Of clips that are still to be made.
ClipShape shape_to_make(const TrainConfig& config) {
  const data::DataConfig& d = config.data;
  const int64_t frames = known_latent_frames(config);
  if (frames == 0) {
    fail_user("data.path: {} is missing: give data.clip_shape [F, C, H, W] to plan without it",
              d.path);
  }
  const model::CodecGeometry codec = model::codec_geometry(d.make.codec);
  return {frames,
          codec.latent_channels,
          d.make.size_height / codec.spatial_factor,
          d.make.size_width / codec.spatial_factor};
}

/// The codec of latents of so many channels that no dataset states: data.make's if it makes such
/// ones, else Wan's, else none that is known.
std::string codec_of_channels(const std::string& to_make, int64_t channels) {
  for (const std::string& name : {to_make, std::string("wan-vae")}) {
    if (model::codec_geometry(name).latent_channels == channels) return name;
  }
  return "";
}

}  // namespace

PlannedMedia planned_media(const TrainConfig& config) {
  const data::DataConfig& d = config.data;
  PlannedMedia media{.clip = {}};
  std::string codec;
  if (!d.clip_shape.empty()) {
    media.clip = clip_shape_of(d.clip_shape);
  } else if (std::filesystem::exists(d.path)) {
    const data::LatentDataset dataset(d.path);
    media.clip = largest(shapes_of(dataset));
    codec = dataset.info().codec;  // a prompt set may have none
  } else {
    media.clip = shape_to_make(config);
  }
  if (codec.empty()) codec = codec_of_channels(d.make.codec, media.clip.channels);
  if (!codec.empty()) media.codec = held_codec(config, codec, media.clip);
  return media;
}

}  // namespace vmla::trainer
