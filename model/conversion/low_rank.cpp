#include "model/conversion/low_rank.h"

#include <ATen/ATen.h>

#include <cmath>

namespace vmla::model {

LowRank truncated_svd(const at::Tensor& matrix, int64_t rank) {
  const at::Tensor a = matrix.to(at::kDouble);
  const bool wide = a.size(1) > a.size(0);
  // Eigenvectors of the smaller Gram matrix; singular values ascending in eigh's order.
  const at::Tensor gram = wide ? a.matmul(a.t()) : a.t().matmul(a);
  const auto [eigenvalues, eigenvectors] = at::linalg_eigh(gram);
  const int64_t full = gram.size(0), kept = std::min(rank, full);
  const at::Tensor energy = eigenvalues.clamp_min(0.0);
  const double total = energy.sum().item<double>();
  const double inside = energy.narrow(0, full - kept, kept).sum().item<double>();

  const at::Tensor basis = eigenvectors.narrow(1, full - kept, kept).flip({1});
  const at::Tensor projected = wide ? basis.t().matmul(a) : a.matmul(basis);  // S V^T, or U S
  const at::Tensor s = projected.norm(2, wide ? 1 : 0);
  // A singular value of 0 has no direction of its own: both factors are 0 there.
  const at::Tensor inverse_root = at::where(s > 0, s.clamp_min(1e-300).rsqrt(), at::zeros_like(s));
  const at::Tensor root = s.sqrt();
  LowRank result;
  if (wide) {
    result.up = basis * root;
    result.down = projected * inverse_root.unsqueeze(1);
  } else {
    result.up = projected * inverse_root;
    result.down = (basis * root).t().contiguous();
  }
  if (kept < rank) {
    result.up = at::constant_pad_nd(result.up, {0, rank - kept});
    result.down = at::constant_pad_nd(result.down, {0, 0, 0, rank - kept});
  }
  result.energy_kept = total > 0 ? inside / total : 1.0;
  result.optimal_error = std::sqrt(energy.narrow(0, 0, full - kept).sum().item<double>());
  return result;
}

}  // namespace vmla::model
