#pragma once

#include <cstdint>
#include <string>

#include "data/store/latent_file_format.h"
#include "model/codec/codec_options.h"

namespace vmla::model {
class VideoCodec;
}

namespace vmla::data {

/// A clip before it is encoded.
struct PixelClip {
  int64_t frames = 0;
  int64_t height = 0, width = 0;  // pixels
  double fps = 0;
};

/// The info of a dataset of such clips, encoded by `codec`, without the shape of their latents.
LatentInfo info_of_clips(const model::VideoCodec& codec, const PixelClip& clip);

/// The same with the shape of the latents, for clips that `codec` (a name) has yet to encode.
/// UserError if the codec takes no such clip.
LatentInfo clips_of_codec(const std::string& codec,
                          const PixelClip& clip,
                          const model::CodecOptions& options = {});

/// UserError, with `what` in front, if the codec takes no clips of this size.
void check_clip_size(const std::string& what,
                     const std::string& codec,
                     const model::CodecGeometry& geometry,
                     const PixelClip& clip);

}  // namespace vmla::data
