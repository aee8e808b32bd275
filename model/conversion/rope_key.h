#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// One rope key for all heads (docs/algorithms.md 5.2), and the turns of each head's query that
/// make up for it.
struct SharedRopeKey {
  at::Tensor weight;  // [P, D] fp64: real and imaginary rows of each pair, interleaved
  at::Tensor bias;    // [P]
  at::Tensor heads;   // [pairs, N] complex: u, unit norm, its largest component real and positive
  double energy_lost = 0;  // 1 − Σ uᴴ M u / Σ trace M over the pairs
};

/// The combination of the heads that the shared key is, s = uᴴ k with u of unit norm.
enum class HeadMix {
  kComplex,  // top eigenvector of the Hermitian second moment: nothing keeps more
  kReal,     // that of its real part: the best of the real combinations (TransMLA)
  kMean,     // the mean of the heads (X-EcoMLA)
};

/// u from the N x N Hermitian second moment of each pair's complex key rows (bias as one more input
/// column), s = uᴴ k (docs/algorithms.md 5.2). rows: [N P, D] per head, pairs interleaved; bias:
/// [N P]; inputs: [D + 1, D + 1], the second moment of (x, 1), undefined for isotropic ones. fp64.
SharedRopeKey shared_rope_key(const at::Tensor& rows,
                              const at::Tensor& bias,
                              int64_t num_heads,
                              HeadMix mix = HeadMix::kComplex,
                              const at::Tensor& inputs = {});

/// conj(u_h) applied to head h's rope rows of the query: [N P, ...] → the same shape. Commutes with
/// RoPE.
at::Tensor turn_query_rows(const at::Tensor& rows, const SharedRopeKey& key, int64_t num_heads);

}  // namespace vmla::model
