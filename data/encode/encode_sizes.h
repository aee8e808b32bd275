#pragma once

#include "data/encode/encode_videos.h"

namespace vmla::model {
class VideoCodec;
class TextEncoder;
}  // namespace vmla::model

namespace vmla::data {

/// The part of encode_videos() that several sizes need: sorts the videos of `folder` by the size
/// that is nearest to theirs and makes a pass over them for each size. A video that does not say
/// its size is tried, and listed, at the first size that has a video. `options` are complete and
/// checked. No clip at any size: the report says so, and there is no folder.
EncodeReport encode_sizes(const EncodeOptions& options,
                          const VideoFolder& folder,
                          const model::VideoCodec& codec,
                          const model::TextEncoder& text);

}  // namespace vmla::data
