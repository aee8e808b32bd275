#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "analysis/rank/rank_tracker.h"

namespace vmla::analysis {

/// The spread of one layer's latents over the tokens of real clips: whether the data fill the
/// directions that the weights offer (docs/algorithms.md 13.5).
class LatentStatistics {
 public:
  /// Adds the tokens of `latents` [..., R], any float dtype and device: what the cache holds, after
  /// the latent norm with its gain.
  void add(const at::Tensor& latents);

  int64_t tokens() const { return tokens_; }

  /// Ranks of the covariance Σ of the latents. Its eigenvalues are squared deviations, so that the
  /// spectrum holds their square roots, and the energy is the variance. c10::Error before add().
  LayerRank latents() const;
  /// Of what the latents become: keys' content and values, kv_b c. kv_b Σ kv_bᵀ does not change
  /// when c is written in another basis and kv_b in the inverse one; Σ alone does. `kv_b`
  /// [N*(K_nope+V), R].
  LayerRank content(const at::Tensor& kv_b) const;

 private:
  at::Tensor covariance() const;

  int64_t tokens_ = 0;
  at::Tensor shift_R_;            // the first tokens' mean, so that sums of squares stay small
  at::Tensor sum_R_, second_RR_;  // fp64, of latents less the shift
};

}  // namespace vmla::analysis
