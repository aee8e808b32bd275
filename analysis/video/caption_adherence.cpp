#include "analysis/video/caption_adherence.h"

#include <ATen/ATen.h>

#include "analysis/video/shape_reader.h"

namespace vmla::analysis {

std::optional<ClipAdherence> check_caption(const CaptionedClip& clip) {
  const std::optional<data::Combination> asked = data::parse_caption(clip.caption);
  if (!asked) return std::nullopt;
  return ClipAdherence{*asked, read_shape(clip.pixels_F3HW)};
}

Adherence summarise(const std::vector<std::optional<ClipAdherence>>& clips) {
  Adherence result;
  for (const auto& clip : clips) {
    if (!clip) continue;
    ++result.clips;
    result.colour += clip->colour();
    result.shape += clip->shape();
    result.direction += clip->direction();
  }
  const double count = static_cast<double>(std::max<int64_t>(result.clips, 1));
  result.colour /= count;
  result.shape /= count;
  result.direction /= count;
  return result;
}

}  // namespace vmla::analysis
