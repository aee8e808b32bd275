#include "model/conversion/refine.h"

#include <ATen/ATen.h>

#include <utility>

namespace vmla::model {
namespace {

/// A step that gains less than this share of the error is rounding.
constexpr double kLeastGain = 1e-12;

/// Orthonormal columns that span those of `columns_mr`, in [m, r].
at::Tensor orthonormal(const at::Tensor& columns_mr) {
  return std::get<0>(at::linalg_qr(columns_mr));
}

/// A product in the form of an SVD: up = U S^1/2 and down = S^1/2 V^T of the SVD of up down, where
/// the columns of `up_mr` are orthonormal.
std::pair<at::Tensor, at::Tensor> balanced(const at::Tensor& up_mr, const at::Tensor& down_rn) {
  const auto [u, s, vt] = at::linalg_svd(down_rn, /*full_matrices=*/false);
  const at::Tensor root = s.sqrt();
  return {up_mr.matmul(u) * root, root.unsqueeze(1) * vt};
}

}  // namespace

Refinement refine(const at::Tensor& matrix,
                  const LowRank& start,
                  const LowRankObjective& objective,
                  int64_t steps) {
  Refinement result{.factors = start, .errors = {}};
  if (steps == 0) return result;
  // In whitened coordinates, A = diag(weight) M L with moment = L L^T, the objective is a plain
  // squared distance.
  const at::Tensor lower =
      objective.moment.defined() ? whitening_factor(objective.moment) : at::Tensor();
  const auto whitened = [&](const at::Tensor& t) { return lower.defined() ? t.matmul(lower) : t; };
  const auto weighted = [&](const at::Tensor& t) {
    return objective.row_weight.defined() ? objective.row_weight * t : t;
  };
  const at::Tensor target_mn = whitened(weighted(matrix.to(at::kDouble)));
  const double whole = target_mn.norm().item<double>();
  if (whole == 0) return result;
  const auto error = [&](const at::Tensor& up, const at::Tensor& down) {
    return (target_mn - up.matmul(down)).norm().item<double>() / whole;
  };
  at::Tensor down_rn = whitened(start.down), up_mr;
  result.errors.push_back(error(weighted(start.up), down_rn));
  for (int64_t step = 0; step < steps; ++step) {
    // The least-squares answer to `down` is A down^T (down down^T)^-1. With the rows of down in an
    // orthonormal basis, which changes nothing in what the product can be, the inverse is gone: no
    // squared condition number, and none singular where latents are dead.
    const at::Tensor up = orthonormal(target_mn.matmul(orthonormal(down_rn.t())));
    const at::Tensor down = up.t().matmul(target_mn);
    const double now = error(up, down), before = result.errors.back();
    if (!(now < before * (1 - kLeastGain))) break;
    up_mr = up;
    down_rn = down;
    result.errors.push_back(now);
  }
  if (!up_mr.defined()) return result;
  auto [up, down] = balanced(up_mr, down_rn);
  if (objective.row_weight.defined()) up = up / objective.row_weight;
  if (lower.defined())
    down = at::linalg_solve_triangular(lower, down, /*upper=*/false, /*left=*/false).contiguous();
  // More latents than rows or columns: those beyond stay unused.
  const int64_t spare = start.down.size(0) - down.size(0);
  result.factors.up = at::constant_pad_nd(up, {0, spare});
  result.factors.down = at::constant_pad_nd(down, {0, 0, 0, spare});
  result.factors.energy_kept = 1 - result.errors.back() * result.errors.back();
  return result;
}

}  // namespace vmla::model
