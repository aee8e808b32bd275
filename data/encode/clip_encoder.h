#pragma once

#include <string>
#include <vector>

#include "data/encode/encoded_clip.h"
#include "data/video/decode_pool.h"
#include "data/video/video_folder.h"

namespace vmla::model {
class VideoCodec;
}

namespace vmla::data {

/// Turns the pixels and the caption of a clip into what a dataset stores. Codec and text encoder
/// must outlive it.
class ClipEncoder {
 public:
  ClipEncoder(const model::VideoCodec& codec, const model::TextEncoder& text)
      : codec_(codec), text_(text) {}

  /// `clip` was cut out of `video`, whose caption it gets, or the empty prompt without one.
  EncodedClip encode(const DecodedClip& clip, const VideoEntry& video);

 private:
  const std::vector<float>& caption_rows(const std::string& caption);

  const model::VideoCodec& codec_;
  const model::TextEncoder& text_;
  // The last caption and its embedding: clips of one video share it.
  std::string last_caption_;
  std::vector<float> last_rows_;
};

}  // namespace vmla::data
