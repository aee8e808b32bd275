#include "model/conversion/low_rank.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
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

/// The eigenvectors of the Gram matrix of the narrower side that the approximation keeps, largest
/// first, [n, kept].
struct Basis {
  at::Tensor vectors;
  /// Sum of all other eigenvalues; none: they are not known well enough.
  std::optional<double> beyond;
};

Basis basis_in_fp64(const at::Tensor& narrow, int64_t kept) {
  const auto [eigenvalues, eigenvectors] = at::linalg_eigh(lower_gram(narrow), "L");
  const int64_t full = narrow.size(1);
  const at::Tensor energy = eigenvalues.clamp_min(0.0);
  return {.vectors = eigenvectors.narrow(1, full - kept, kept).flip({1}),
          .beyond = energy.narrow(0, 0, full - kept).sum().item<double>()};
}

// Eigenvectors of an fp32 Gram matrix cost half of those in fp64. What they get wrong is how close
// directions share out, which matters at one place alone: between the last that is kept and the
// first that is not. So the directions on both sides of the cut are told apart once more in fp64,
// from the matrix itself. What is left of the error is of second order: 1e-12 of the optimum for a
// flat spectrum, 1e-8 where it falls to a thirtieth at the cut (docs/algorithms.md 5.1).
constexpr int64_t kBand = 64;         // directions on each side of the cut
constexpr int64_t kLeastWidth = 256;  // below it fp64 costs nothing that is seen
constexpr double kLeastAtCut = 1e-4;  // of the largest eigenvalue: below it fp32 knows too little

std::optional<Basis> basis_in_fp32(const at::Tensor& narrow, int64_t kept) {
  const int64_t full = narrow.size(1);
  if (full < kLeastWidth || kept >= full) return std::nullopt;
  const auto [values, rough] = at::linalg_eigh(lower_gram(narrow.to(at::kFloat)), "L");
  const double largest = values[full - 1].item<double>();
  if (!(values[full - kept].item<double>() > kLeastAtCut * largest)) return std::nullopt;
  const int64_t end = std::min(full, kept + kBand), begin = std::max<int64_t>(0, kept - kBand);
  // Of unit length. Two directions may still share 1e-6, and so may what the band's are turned into
  // differ from unit length: in the error of the approximation that counts squared.
  const at::Tensor v = rough.narrow(1, full - end, end).flip({1}).to(at::kDouble);
  const at::Tensor basis = v.div_(v.norm(2, 0));
  const at::Tensor band = basis.narrow(1, begin, end - begin);
  const at::Tensor image = narrow.matmul(band);
  const auto [unused, turn] = at::linalg_eigh(image.t().matmul(image), "L");
  const at::Tensor upper = band.matmul(turn.flip({1}).narrow(1, 0, kept - begin));
  return Basis{.vectors = at::cat({basis.narrow(1, 0, begin), upper}, 1), .beyond = std::nullopt};
}

/// With the eigenvectors in fp64, or where `rough` allows it in fp32.
LowRank truncated(const at::Tensor& matrix, int64_t rank, bool rough) {
  const at::Tensor a = matrix.to(at::kDouble);
  const bool wide = a.size(1) > a.size(0);
  const at::Tensor narrow = wide ? a.t() : a;
  const int64_t kept = std::min(rank, narrow.size(1));
  std::optional<Basis> found;
  if (rough) found = basis_in_fp32(narrow, kept);
  if (!found) found = basis_in_fp64(narrow, kept);

  const at::Tensor& basis = found->vectors;
  const at::Tensor projected = wide ? basis.t().matmul(a) : a.matmul(basis);  // S V^T, or U S
  const at::Tensor s = projected.norm(2, wide ? 1 : 0);
  const double inside = s.square().sum().item<double>();
  const double beyond = found->beyond ? *found->beyond : std::max(0.0, sum_of_squares(a) - inside);
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
  result.energy_kept = inside + beyond > 0 ? inside / (inside + beyond) : 1.0;
  result.optimal_error = std::sqrt(beyond);
  return result;
}

}  // namespace

LowRank truncated_svd(const at::Tensor& matrix, int64_t rank) {
  return truncated(matrix, rank, /*rough=*/true);
}

at::Tensor whitening_factor(const at::Tensor& moment) {
  const at::Tensor c = moment.to(at::kDouble);
  const double mean = c.diagonal().mean().item<double>();
  const double damping = mean > 0 ? 1e-8 * mean : 1.0;  // no inputs at all: the plain SVD
  return at::linalg_cholesky(c + damping * at::eye(c.size(0), c.options()), /*upper=*/false);
}

LowRank whitened_svd(const at::Tensor& matrix, const at::Tensor& moment, int64_t rank) {
  const at::Tensor lower = whitening_factor(moment);
  // Moments may span more than fp32 can tell apart.
  LowRank result = truncated(matrix.to(at::kDouble).matmul(lower), rank, /*rough=*/false);
  result.down =
      at::linalg_solve_triangular(lower, result.down, /*upper=*/false, /*left=*/false).contiguous();
  return result;
}

double sum_of_squares(const at::Tensor& matrix) {
  const at::Tensor all = matrix.reshape({-1});
  return at::dot(all, all).item<double>();
}

double energy_of(const at::Tensor& matrix, const at::Tensor& moment) {
  return (matrix.matmul(moment) * matrix).sum().item<double>();
}

}  // namespace vmla::model
