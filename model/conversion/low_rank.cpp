#include "model/conversion/low_rank.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace vmla::model {
namespace {

/// The lower triangle of aᵀ a, in blocks, which takes about 5/8 of the whole product's time; what
/// stands above it is zero.
at::Tensor lower_gram(const at::Tensor& a) {
  constexpr int64_t kBlocks = 4;
  const std::vector<at::Tensor> parts = a.chunk(kBlocks, 1);
  at::Tensor gram = at::zeros({a.size(1), a.size(1)}, a.options());
  int64_t row = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    int64_t column = 0;
    for (size_t j = 0; j <= i; ++j) {
      gram.narrow(0, row, parts[i].size(1))
          .narrow(1, column, parts[j].size(1))
          .copy_(parts[i].t().matmul(parts[j]));
      column += parts[j].size(1);
    }
    row += parts[i].size(1);
  }
  return gram;
}

}  // namespace

LowRank truncated_svd(const at::Tensor& matrix, int64_t rank) {
  const at::Tensor a = matrix.to(at::kDouble);
  const bool wide = a.size(1) > a.size(0);
  // Eigenvectors of the smaller Gram matrix; singular values ascending in eigh's order.
  const at::Tensor gram = lower_gram(wide ? a.t() : a);
  const auto [eigenvalues, eigenvectors] = at::linalg_eigh(gram, "L");
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

at::Tensor whitening_factor(const at::Tensor& moment) {
  const at::Tensor c = moment.to(at::kDouble);
  const double mean = c.diagonal().mean().item<double>();
  const double damping = mean > 0 ? 1e-8 * mean : 1.0;  // no inputs at all: the plain SVD
  return at::linalg_cholesky(c + damping * at::eye(c.size(0), c.options()), /*upper=*/false);
}

LowRank whitened_svd(const at::Tensor& matrix, const at::Tensor& moment, int64_t rank) {
  const at::Tensor lower = whitening_factor(moment);
  LowRank result = truncated_svd(matrix.to(at::kDouble).matmul(lower), rank);
  result.down =
      at::linalg_solve_triangular(lower, result.down, /*upper=*/false, /*left=*/false).contiguous();
  return result;
}

double energy_of(const at::Tensor& matrix, const at::Tensor& moment) {
  return (matrix.matmul(moment) * matrix).sum().item<double>();
}

}  // namespace vmla::model
