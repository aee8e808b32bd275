#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/video/energy_distance.h"
#include "data/synth/mosaic_config.h"

namespace vmla::analysis {

/// What sampled clips of a mosaic are compared with.
struct MosaicReference {
  data::MosaicConfig mosaic;
  /// Token patches of held-out clips (energy_distance.h); undefined: there is no energy.
  PatchSet real;
  /// How they were cut: `patch` and `most` of token_patches.
  std::vector<int64_t> patch;
  int64_t patches = 0;
  /// Latent frames of one of those clips; a longer video is compared by its first and its last
  /// ones.
  int64_t latent_frames = 0;
};

/// A number and its standard error over the clips.
struct Estimate {
  double value = 0, error = 0;
};

/// What clips of a mosaic keep of its ground (docs/algorithms.md 14.3).
struct MosaicMeasures {
  int64_t clips = 0;
  /// Correlation of the ground's numbers in chunk 0 with those in a later chunk, of the numbers
  /// that both show; mean over the later chunks, and of the last one alone. 1 for real clips, 0 for
  /// chance. Without a second chunk there is none.
  std::optional<Estimate> keep, keep_last;
  /// The same with the later chunk of another clip, whatever the clips have in common: what chance
  /// is here.
  double keep_shuffled = 0;
  /// Standard deviation of the numbers in units of the amplitude: of all chunks, of the first and
  /// of the last. 1 for real clips; what few denoising steps lose.
  Estimate contrast;
  double contrast_first = 0, contrast_last = 0;
  /// Of the token patches of the first (and the last) frames of the clips, as many as a real clip
  /// has, from those of real clips. About 0 for real clips.
  std::optional<EnergyDistance> energy, energy_last;
};

/// Measures clips [F, 3, H, H], fp32 in [-1, 1], generated in chunks of `chunk_frames` pixel frames
/// (those beyond a clip's end are ignored). `latents`, [F, C, H, W] of the same clips, may be
/// empty: then there is no energy. `kinds`: PatchSet::kinds of the clips. A clip that shows too
/// little of its ground to be read, or none of it twice, keeps 0 and has contrast 0.
MosaicMeasures measure_mosaic(const std::vector<at::Tensor>& clips,
                              const std::vector<at::Tensor>& latents,
                              const std::vector<int64_t>& kinds,
                              const std::vector<int64_t>& chunk_frames,
                              const MosaicReference& reference);

/// The figures by name, as section `mosaic` of summary.json holds them.
std::map<std::string, double> figures_of(const MosaicMeasures& measures);

}  // namespace vmla::analysis
