#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/video/caption_adherence.h"
#include "analysis/video/mosaic_measures.h"
#include "analysis/video/motion.h"
#include "analysis/video/retention.h"

namespace vmla::analysis {

/// A number that is equal for clips whose captions ask for the same moving shape, and -1 for all
/// others: PatchSet::kinds.
int64_t kind_of(const std::string& caption);

/// Everything that is measured on a set of sampled clips, without any external network. What the
/// figures mean, and which way they are better, is said where each is defined.
struct ClipMeasures {
  Adherence adherence;
  Retention retention;
  /// Mean over the clips; border_jump over those where it is known.
  Motion motion;
  /// Of clips of a mosaic.
  std::optional<MosaicMeasures> mosaic;
  /// In the order given; nothing for a clip of another caption than moving shapes.
  std::vector<std::optional<ClipAdherence>> per_clip;
};

/// Measures `clips`, each generated in chunks of `chunk_frames` pixel frames from frame 0 (chunks
/// beyond a clip's end are ignored). Clips of other captions than moving shapes take part in motion
/// alone. Retention needs two or more clips of a caption to compare (see retention.h). Retention
/// reads each shape in the colour that the clip shows, right or wrong. With `mosaic` the clips are
/// of moving shapes before that ground: shapes are read as if it were dark (without_ground), and
/// the ground is measured too.
ClipMeasures measure_clips(const std::vector<CaptionedClip>& clips,
                           const std::vector<int64_t>& chunk_frames,
                           const MosaicReference* mosaic = nullptr);

/// The figures by section and name, as summary.json holds them: adherence {clips, colour, shape,
/// direction, present, colour_present, shape_present, direction_present, area}, retention {...},
/// motion {...}, mosaic {...}. A section that could not be measured is left out.
std::map<std::string, std::map<std::string, double>> figures_of(const ClipMeasures& measures);

}  // namespace vmla::analysis
