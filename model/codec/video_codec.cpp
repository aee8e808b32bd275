#include "model/codec/video_codec.h"

#include <charconv>
#include <string_view>

#include "model/codec/space_to_depth_codec.h"
#include "model/io/error.h"

namespace vmla::model {

std::unique_ptr<VideoCodec> make_video_codec(const std::string& name) {
  constexpr std::string_view kSpaceToDepth = "space_to_depth:";
  if (name.starts_with(kSpaceToDepth)) {
    int64_t block = 0;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + kSpaceToDepth.size(), end, block);
    if (error == std::errc() && rest == end && block >= 1 && block <= 16) {
      return std::make_unique<SpaceToDepthCodec>(block);
    }
  }
  fail_user("video codec \"{}\" is unknown; known: space_to_depth:N with N from 1 to 16", name);
}

}  // namespace vmla::model
