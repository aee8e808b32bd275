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

void check_clip_size(const std::string& what,
                     const std::string& codec,
                     const model::CodecGeometry& geometry,
                     const PixelClip& clip) {
  const int64_t factor = geometry.spatial_factor;
  if (clip.height < 1 || clip.width < 1 || clip.height % factor != 0 || clip.width % factor != 0) {
    fail_user("{}size {}x{} is no multiple of {}, which codec {} needs",
              what,
              clip.height,
              clip.width,
              factor,
              codec);
  }
  const int64_t fitting = geometry.pixel_frames(geometry.latent_frames(clip.frames));
  if (fitting != clip.frames) {
    fail_user("{}clips of {} frames are asked for, codec {} encodes {} frames and the like",
              what,
              clip.frames,
              codec,
              fitting);
  }
}

LatentInfo clips_of_codec(const std::string& name,
                          const PixelClip& clip,
                          const model::CodecOptions& options) {
  check_clip_size("", name, model::codec_geometry(name), clip);
  const auto codec = model::make_video_codec(name, options);
  const model::CodecGeometry geometry = codec->geometry();
  LatentInfo info = info_of_clips(*codec, clip);
  info.clip_shape = {geometry.latent_frames(clip.frames),
                     geometry.latent_channels,
                     clip.height / geometry.spatial_factor,
                     clip.width / geometry.spatial_factor};
  return info;
}

}  // namespace vmla::data
