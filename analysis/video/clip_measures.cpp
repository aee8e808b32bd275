#include "analysis/video/clip_measures.h"

#include <ATen/ATen.h>

#include "analysis/video/mosaic_ground_reader.h"

namespace vmla::analysis {
namespace {

// The leading chunks that lie within `frames`.
std::vector<int64_t> chunks_within(const std::vector<int64_t>& chunk_frames, int64_t frames) {
  std::vector<int64_t> kept;
  for (const int64_t length : chunk_frames) {
    frames -= length;
    if (frames < 0) break;
    kept.push_back(length);
  }
  return kept;
}

// Equal for equal captions, as measure_retention wants it.
int caption_number(const data::Combination& what) {
  return (what.colour * 3 + what.shape) * 4 + what.direction;
}

}  // namespace

int64_t kind_of(const std::string& caption) {
  const auto what = data::parse_caption(caption);
  return what ? caption_number(*what) : -1;
}

ClipMeasures measure_clips(const std::vector<CaptionedClip>& clips,
                           const std::vector<int64_t>& chunk_frames,
                           const MosaicReference* mosaic) {
  ClipMeasures result;
  std::vector<std::vector<ChunkTraits>> traits;
  std::vector<int> captions;
  double jumps_known = 0;
  for (const CaptionedClip& clip : clips) {
    const std::vector<int64_t> chunks = chunks_within(chunk_frames, clip.pixels_F3HW.size(0));
    const Motion motion = measure_motion(clip.pixels_F3HW, chunks);
    result.motion.amount += motion.amount / static_cast<double>(clips.size());
    result.motion.smoothness += motion.smoothness / static_cast<double>(clips.size());
    result.motion.border_jump += motion.border_jump;
    jumps_known += motion.border_jump > 0;

    const CaptionedClip shapes = {
        mosaic ? without_ground(clip.pixels_F3HW, mosaic->mosaic) : clip.pixels_F3HW, clip.caption};
    result.per_clip.push_back(check_caption(shapes));
    if (const auto& adherence = result.per_clip.back()) {
      traits.push_back(read_chunk_traits(shapes.pixels_F3HW, adherence->shown.colour, chunks));
      captions.push_back(caption_number(adherence->asked));
    }
  }
  if (jumps_known > 0) result.motion.border_jump /= jumps_known;
  result.adherence = summarise(result.per_clip);
  result.retention = measure_retention(traits, captions);
  if (mosaic && !clips.empty()) {
    std::vector<at::Tensor> pixels, latents;
    std::vector<int64_t> kinds;
    for (const CaptionedClip& clip : clips) {
      kinds.push_back(kind_of(clip.caption));
      pixels.push_back(clip.pixels_F3HW);
      if (clip.latents_FCHW.defined()) latents.push_back(clip.latents_FCHW);
    }
    result.mosaic = measure_mosaic(pixels, latents, kinds, chunk_frames, *mosaic);
  }
  return result;
}

std::map<std::string, std::map<std::string, double>> figures_of(const ClipMeasures& measures) {
  std::map<std::string, std::map<std::string, double>> figures;
  if (measures.adherence.clips > 0) {
    const Adherence& a = measures.adherence;
    figures["adherence"] = {{"clips", static_cast<double>(a.clips)},
                            {"colour", a.colour},
                            {"shape", a.shape},
                            {"direction", a.direction},
                            {"present", a.present},
                            {"colour_present", a.colour_present},
                            {"shape_present", a.shape_present},
                            {"direction_present", a.direction_present},
                            {"area", a.area}};
  }
  if (measures.retention.clips > 0) {
    const Retention& r = measures.retention;
    figures["retention"] = {{"clips", static_cast<double>(r.clips)},
                            {"within_caption", r.within_caption ? 1.0 : 0.0},
                            {"identification", r.identification},
                            {"size_identification", r.size_identification},
                            {"speed_identification", r.speed_identification},
                            {"texture_identification", r.texture_identification},
                            {"size_correlation", r.size_correlation},
                            {"speed_correlation", r.speed_correlation},
                            {"texture_correlation", r.texture_correlation}};
  }
  if (!measures.per_clip.empty()) {
    figures["motion"] = {{"amount", measures.motion.amount},
                         {"smoothness", measures.motion.smoothness}};
    if (measures.motion.border_jump > 0) {
      figures["motion"]["border_jump"] = measures.motion.border_jump;
    }
  }
  if (measures.mosaic) figures["mosaic"] = figures_of(*measures.mosaic);
  return figures;
}

}  // namespace vmla::analysis
