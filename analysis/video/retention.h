#pragma once

#include <cstdint>
#include <vector>

#include "analysis/video/shape_reader.h"

namespace vmla::analysis {

/// How well later chunks keep what chunk 0 had and the caption does not say (size, speed, texture).
///
/// Two figures a trait. *Identification*: the chance that chunk k of a clip is closer to its own
/// chunk 0 than to that of another clip with the same caption; 0.5 is chance, 1 perfect.
/// *Correlation*: of chunk k's value with chunk 0's over clips, after the mean of clips with the
/// same caption is taken off; 0 is chance. Clips are only compared within a caption, since what the
/// caption says (form and colour bias the readings a little) must not count as memory. Both are
/// means over k >= 1.
struct Retention {
  int64_t clips = 0;            // clips that had another one to be compared with, and two chunks
  bool within_caption = true;   // false: no caption occurred twice, so all clips were compared
  double identification = 0.5;  // by all traits together
  double size_identification = 0.5, speed_identification = 0.5, texture_identification = 0.5;
  double size_correlation = 0, speed_correlation = 0, texture_correlation = 0;
  std::vector<double> identification_by_chunk;  // k = 1, 2, ...
};

/// `traits[i][k]` is chunk k of clip i; clips may differ in length, and chunk k takes part where a
/// clip has it. `captions[i]` is any number that is equal for equal captions.
Retention measure_retention(const std::vector<std::vector<ChunkTraits>>& traits,
                            const std::vector<int>& captions);

}  // namespace vmla::analysis
