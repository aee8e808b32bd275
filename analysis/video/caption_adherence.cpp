#include "analysis/video/caption_adherence.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "analysis/video/shape_reader.h"

namespace vmla::analysis {

std::optional<ClipAdherence> check_caption(const CaptionedClip& clip) {
  const std::optional<data::Combination> asked = data::parse_caption(clip.caption);
  if (!asked) return std::nullopt;
  const data::Combination shown = read_shape(clip.pixels_F3HW);
  return ClipAdherence{*asked, shown, read_presence(clip.pixels_F3HW, shown.colour)};
}

Adherence summarise(const std::vector<std::optional<ClipAdherence>>& clips) {
  Adherence result;
  for (const auto& clip : clips) {
    if (!clip) continue;
    ++result.clips;
    result.colour += clip->colour();
    result.shape += clip->shape();
    result.direction += clip->direction();
    result.present += clip->present();
    result.colour_present += clip->present() && clip->colour();
    result.shape_present += clip->present() && clip->shape();
    result.direction_present += clip->present() && clip->direction();
    result.area += clip->presence.area;
  }
  const double count = static_cast<double>(std::max<int64_t>(result.clips, 1));
  for (double* sum : {&result.colour,
                      &result.shape,
                      &result.direction,
                      &result.present,
                      &result.colour_present,
                      &result.shape_present,
                      &result.direction_present,
                      &result.area}) {
    *sum /= count;
  }
  return result;
}

}  // namespace vmla::analysis
