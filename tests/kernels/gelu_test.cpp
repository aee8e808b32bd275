#include "kernels/gelu/gelu.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/fast_exp.h"
#include "tests/kernels/draws.h"
#include "tests/support/gradient_check.h"

namespace vmla::kernels {
namespace {

using tests::draw;
using tests::near_max;
using tests::same_bits;

// A dense sweep of the useful range with the odd length that leaves a vector loop a tail.
at::Tensor sweep() {
  return at::linspace(-12, 12, 100003, at::kDouble);
}

TEST(GeluTanh, FollowsTheReferenceInEveryDtype) {
  const at::Tensor x32 = sweep().to(at::kFloat);
  const at::Tensor expected = gelu_tanh_reference(x32.to(at::kDouble));
  EXPECT_TRUE(near_max(gelu_tanh(sweep()), gelu_tanh_reference(sweep()), 1e-15));
  // Error of an element: a few roundings of its own size, and 2^-24 of |x| near zero output (the
  // sigmoid's relative error grows with its exponent, where the result itself vanishes).
  const at::Tensor error = (gelu_tanh(x32).to(at::kDouble) - expected).abs();
  const at::Tensor allowed = expected.abs() * (6 * 0x1p-24) + 2 * 0x1p-24 * 1e-1;
  EXPECT_TRUE((error <= allowed).all().item<bool>()) << (error / allowed).max().item<double>();
  const at::Tensor x16 = sweep().to(at::kBFloat16);
  EXPECT_TRUE(near_max(gelu_tanh(x16), gelu_tanh_reference(x16.to(at::kDouble)), 0x1p-8));
}

TEST(GeluTanh, TakesAnyLengthAndStride) {
  for (const int64_t n : {0, 1, 5, 7, 33}) {
    const at::Tensor x = draw(1, {n, 5}, at::kFloat);
    EXPECT_TRUE(near_max(gelu_tanh(x), gelu_tanh_reference(x.to(at::kDouble)), 6 * 0x1p-24)) << n;
    EXPECT_TRUE(same_bits(gelu_tanh(x.t()), gelu_tanh(x.t().contiguous()))) << n;
  }
}

TEST(GeluTanh, IsDefinedFarOut) {
  const at::Tensor x = at::tensor({-1e30, -100.0, 0.0, 100.0, 1e30}, at::kFloat);
  const at::Tensor expected = at::tensor({0.0, 0.0, 0.0, 100.0, 1e30}, at::kFloat);
  EXPECT_TRUE(near_max(gelu_tanh(x), expected, 0.0));
  EXPECT_TRUE(at::isnan(gelu_tanh(at::full({1}, NAN))).item<bool>());
  const at::Tensor leaf = x.detach().requires_grad_();
  gelu_tanh(leaf).sum().backward();
  EXPECT_TRUE(near_max(leaf.grad(), at::tensor({0.0, 0.0, 0.5, 1.0, 1.0}, at::kFloat), 0.0));
}

TEST(FastExp, FollowsTheLibraryAndPassesNanOn) {
  for (double x = -87.0; x <= 88.0; x += 0.0137) {
    const auto rounded = static_cast<float>(x);
    const double exact = std::exp(static_cast<double>(rounded));
    EXPECT_NEAR(fast_exp(rounded), exact, 1.2e-7 * exact) << x;
  }
  EXPECT_EQ(fast_exp(-1e30f), fast_exp(-87.0f));
  EXPECT_EQ(fast_exp(INFINITY), fast_exp(88.0f));
  EXPECT_TRUE(std::isnan(fast_exp(NAN)));
}

TEST(GeluTanh, HasTheGradientOfCentralDifferences) {
  const auto f = [](const std::vector<at::Tensor>& in) { return gelu_tanh(in[0]); };
  EXPECT_TRUE(tests::gradients_match(f, {draw(2, {5, 33})}));
  EXPECT_TRUE(tests::gradients_match(f, {draw(3, {7, 1}) * 3}));
}

TEST(GeluTanh, GradientInFp32FollowsFp64) {
  const auto f = [](const std::vector<at::Tensor>& in) { return gelu_tanh(in[0]); };
  const at::Tensor x32 = sweep().to(at::kFloat);
  const at::Tensor g = at::ones_like(x32);
  const auto exact = tests::autograd_gradients(f, {x32.to(at::kDouble)}, g.to(at::kDouble));
  const auto got = tests::autograd_gradients(f, {x32}, g);
  // The terms of the derivative reach 1.1; u itself is rounded, which the slope of the sigmoid's
  // tail multiplies by up to 4 where the derivative bends.
  EXPECT_TRUE(near_max(got[0], exact[0], 8 * 0x1p-24));
}

TEST(GeluTanh, GivesTheSameBitsWithAndWithoutGradient) {
  const at::Tensor x = draw(4, {9, 33}, at::kFloat);
  EXPECT_TRUE(same_bits(gelu_tanh(x), gelu_tanh(x.detach().requires_grad_())));
}

}  // namespace
}  // namespace vmla::kernels
