#include "model/conversion/low_rank.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

TEST(LowRank, TruncatedSvdIsBalancedAndPads) {
  for (const auto& shape : {std::pair{9, 5}, {5, 9}, {6, 6}}) {
    const at::Tensor a = draw("matrix", {shape.first, shape.second});
    for (const int64_t rank : {1, 3, 5, 8}) {
      const LowRank found = truncated_svd(a, rank);
      ASSERT_EQ(found.up.sizes(), at::IntArrayRef({shape.first, rank}));
      ASSERT_EQ(found.down.sizes(), at::IntArrayRef({rank, shape.second}));
      const at::Tensor s = at::linalg_svdvals(a);
      const int64_t kept = std::min<int64_t>(rank, s.size(0));
      const double error = s.narrow(0, kept, s.size(0) - kept).norm().item<double>();
      EXPECT_NEAR((a - found.up.matmul(found.down)).norm().item<double>(), error, 1e-12);
      // down = S^1/2 V^T, up = U S^1/2: both Gram matrices are S.
      const at::Tensor expected = at::constant_pad_nd(s.narrow(0, 0, kept), {0, rank - kept});
      EXPECT_LT(max_difference(found.up.t().matmul(found.up), at::diag(expected)), 1e-12);
      EXPECT_LT(max_difference(found.down.matmul(found.down.t()), at::diag(expected)), 1e-12);
    }
  }
  // A matrix of rank 1, and one of rank 0: nothing is divided by zero.
  const at::Tensor one = at::outer(draw("u", {4}), draw("v", {6}));
  EXPECT_LT(max_difference(truncated_svd(one, 3).up.matmul(truncated_svd(one, 3).down), one),
            1e-12);
  const LowRank none = truncated_svd(at::zeros({4, 6}), 2);
  EXPECT_EQ(none.up.abs().max().item<double>() + none.down.abs().max().item<double>(), 0.0);
  EXPECT_EQ(none.energy_kept, 1.0);
}

// Wide enough that fp32 finds the directions and fp64 the cut between them; where the spectrum
// falls too far for that, all is fp64.
TEST(LowRank, WideMatricesAreCutAtTheOptimum) {
  constexpr int64_t kWidth = 300, kRank = 70;
  const at::Tensor noise = draw("matrix", {400, kWidth});
  struct Falls {
    double to;       // of the singular values, over the whole width
    double product;  // largest difference from the exact approximation, of its norm
  };
  for (const auto& [to, product] : {Falls{1, 1e-5}, Falls{0.03, 1e-5}, Falls{1e-9, 1e-11}}) {
    const at::Tensor fall = at::logspace(0, std::log10(to), kWidth, 10, at::kDouble);
    const auto [q, r] = at::linalg_qr(draw("turn", {kWidth, kWidth}));
    const at::Tensor a = (noise * fall).matmul(q.t());
    for (const at::Tensor& m : {a, a.t()}) {
      const auto [u, s, v] = at::linalg_svd(m, /*full_matrices=*/false);
      const at::Tensor exact =
          (u.narrow(1, 0, kRank) * s.narrow(0, 0, kRank)).matmul(v.narrow(0, 0, kRank));
      const double least = s.narrow(0, kRank, kWidth - kRank).norm().item<double>();
      const LowRank found = truncated_svd(m, kRank);
      const at::Tensor approximation = found.up.matmul(found.down);
      EXPECT_NEAR((m - approximation).norm().item<double>() / least, 1.0, 1e-7) << to;
      EXPECT_NEAR(found.optimal_error / least, 1.0, 1e-7) << to;
      EXPECT_LT(((approximation - exact).norm() / exact.norm()).item<double>(), product) << to;
    }
  }
}

// The least E||(M - W) x||² of rank r is the sum of the eigenvalues of M C Mᵀ beyond the r-th.
TEST(LowRank, WhitenedErrorIsTheClosedForm) {
  const at::Tensor half = draw("inputs", {40, 6}) * at::tensor({5.0, 2.0, 1.0, 0.5, 0.1, 0.02});
  const at::Tensor moment = half.t().matmul(half) / 40;
  for (const int64_t rows : {4, 9}) {
    const at::Tensor m = draw("matrix", {rows, 6});
    const at::Tensor values = at::linalg_eigvalsh(m.matmul(moment).matmul(m.t())).clamp_min(0.0);
    for (const int64_t rank : {1, 2, 3}) {
      const double least = values.narrow(0, 0, rows - rank).sum().item<double>();
      const LowRank found = whitened_svd(m, moment, rank);
      const double error = energy_of(m - found.up.matmul(found.down), moment);
      // 1e-8 of damping.
      EXPECT_NEAR(error / least, 1.0, 1e-5);
      EXPECT_NEAR(found.optimal_error * found.optimal_error / least, 1.0, 1e-5);
      const LowRank plain = truncated_svd(m, rank);
      EXPECT_LT(error, energy_of(m - plain.up.matmul(plain.down), moment));
    }
    // At full rank the matrix, also where the inputs leave directions out.
    const at::Tensor few = draw("few", {2, 6});
    const LowRank whole = whitened_svd(m, few.t().matmul(few), 6);
    EXPECT_LT(max_difference(whole.up.matmul(whole.down), m), 1e-9);
  }
}

}  // namespace
}  // namespace vmla::model
