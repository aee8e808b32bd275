#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::analysis {

/// How far two sets of vectors lie apart as distributions, and how sure that is.
struct EnergyDistance {
  double value = 0;
  /// Standard error, from resampling whole clips of both sets.
  double error = 0;
};

/// Vectors of a set of clips, and what kind each clip is of.
struct PatchSet {
  at::Tensor vectors_NPD;  // [clips, vectors, D], any float dtype, on the CPU
  /// A number for each clip, equal for clips that show the same (their caption's); empty: all are
  /// of one kind.
  std::vector<int64_t> kinds = {};
};

/// The energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely and Rizzo, Journal of
/// Statistical Planning and Inference 143, 2013) of two sets. 0 where both have one distribution,
/// up to noise: X and X' are of different clips, since vectors of one clip depend on each other, so
/// that the estimate has no bias and may be below 0. Kinds are taken as fixed shares of a set, as a
/// list of captions is: the estimate is then without bias for each pair of kinds, and resampling is
/// within them. The error is that of 200 bootstrap samples of the clips at a fixed seed. Kinds
/// count only if each has two clips in each set where it occurs. c10::Error for fewer than two
/// clips in a set.
EnergyDistance energy_distance(const PatchSet& x, const PatchSet& y);

/// Token patches of clips' latents [F, C, H, W], as a network with `patch` (frames, rows, columns)
/// sees them: [tokens, C · patch]. At most `most` of them, evenly spread over the clip's frames,
/// rows and columns.
at::Tensor token_patches(const at::Tensor& latents_FCHW, at::IntArrayRef patch, int64_t most);

}  // namespace vmla::analysis
