#pragma once

#include <cstdint>
#include <vector>

#include "analysis/video/shape_reader.h"

namespace vmla::analysis {

/// How well later chunks keep what chunk 0 had and the caption does not say: size, speed and
/// texture of the shape. A causal model can only know them from its cache, so this measures memory:
/// with a zeroed cache it must fall to chance.
///
/// *Identification*, 0..1: the chance that chunk k of a clip is closer to its own chunk 0 than to
/// that of another clip with the same caption, ties counting half. 0.5 is chance, 1 perfect, real
/// clips reach 0.95 by all traits together. It is the accuracy of a two-alternative forced choice,
/// which is the area under the ROC curve (Hanley and McNeil, Radiology 143, 1982).
///
/// *Correlation*, -1..1: Pearson's, of chunk k's value with chunk 0's over clips, after the mean of
/// the clips with the same caption is taken off. 0 is chance, 1 perfect.
///
/// Clips are only compared within a caption, since what the caption says (form and colour bias the
/// readings a little) must not count as memory. Distances are in standard deviations of chunk 0
/// about its caption's mean. Both figures are means over k >= 1.
struct Retention {
  /// Clips that had another one to be compared with, and two chunks.
  int64_t clips = 0;
  /// False: no caption occurred twice, so all clips were compared.
  bool within_caption = true;
  /// By all traits together, and by each.
  double identification = 0.5;
  double size_identification = 0.5, speed_identification = 0.5, texture_identification = 0.5;
  double size_correlation = 0, speed_correlation = 0, texture_correlation = 0;
  /// By all traits together, k = 1, 2, ...
  std::vector<double> identification_by_chunk;
};

/// `traits[i][k]` is chunk k of clip i; clips may differ in length, and chunk k takes part where a
/// clip has it. `captions[i]` is any number that is equal for equal captions.
Retention measure_retention(const std::vector<std::vector<ChunkTraits>>& traits,
                            const std::vector<int>& captions);

}  // namespace vmla::analysis
