#include "data/encode/clips_of_codec.h"

#include "model/codec/video_codec.h"
#include "model/io/error.h"

namespace vmla::data {

LatentInfo info_of_clips(const model::VideoCodec& codec, const PixelClip& clip) {
  LatentInfo info;
  info.codec = codec.name();
  info.codec_hash = codec.hash();
  info.fps = clip.fps;
  info.pixel_height = clip.height;
  info.pixel_width = clip.width;
  info.pixel_frames = clip.frames;
  return info;
}

LatentInfo clips_of_codec(const std::string& name, const PixelClip& clip) {
  const auto codec = model::make_video_codec(name);
  const int64_t factor = codec->spatial_factor();
  if (clip.height < 1 || clip.width < 1 || clip.height % factor != 0 || clip.width % factor != 0) {
    fail_user("size {}x{} is no multiple of {}, which codec {} needs",
              clip.height,
              clip.width,
              factor,
              codec->name());
  }
  int64_t latent_frames = 1;
  while (codec->pixel_frames(latent_frames) < clip.frames) ++latent_frames;
  if (codec->pixel_frames(latent_frames) != clip.frames) {
    fail_user("clips of {} frames are asked for, codec {} encodes {} frames and the like",
              clip.frames,
              codec->name(),
              codec->pixel_frames(latent_frames));
  }
  LatentInfo info = info_of_clips(*codec, clip);
  info.clip_shape = {
      latent_frames, codec->latent_channels(), clip.height / factor, clip.width / factor};
  return info;
}

}  // namespace vmla::data
