#include "kernels/rms_norm/rms_norm.h"

#include <gtest/gtest.h>

#include "tests/kernels/draws.h"
#include "tests/support/gradient_check.h"

namespace vmla::kernels {
namespace {

using tests::draw;
using tests::gradients_match;
using tests::near_max;
using tests::same_bits;

constexpr double kEps = 1e-6;

// fp32: a mean of D squares summed in a few partial sums, a square root and three products: about 8
// roundings of 2^-24.
constexpr double kTolerance32 = 8 * 0x1p-24;
// bf16: everything in fp32 but the last rounding, half a unit of 2^-8.
constexpr double kTolerance16 = 0x1p-8;

TEST(RmsNorm, MatchesTheReferenceOverOddSizes) {
  for (const int64_t D : {1, 7, 33, 64, 257}) {
    for (const int64_t rows : {1, 5, 130}) {
      const at::Tensor x = draw(1, {rows, D});
      const at::Tensor w = draw(2, {D});
      const at::Tensor expected = rms_norm_reference(x, w, kEps);
      EXPECT_TRUE(near_max(rms_norm(x, w, kEps), expected, 1e-14)) << D << " " << rows;
      const at::Tensor y32 = rms_norm(x.to(at::kFloat), w.to(at::kFloat), kEps);
      EXPECT_EQ(y32.scalar_type(), at::kFloat);
      EXPECT_TRUE(near_max(y32, expected, kTolerance32)) << D << " " << rows;
      const at::Tensor x16 = x.to(at::kBFloat16);
      const at::Tensor y16 = rms_norm(x16, w.to(at::kFloat), kEps);
      EXPECT_EQ(y16.scalar_type(), at::kBFloat16);
      EXPECT_TRUE(near_max(y16, rms_norm_reference(x16.to(at::kDouble), w, kEps), kTolerance16))
          << D << " " << rows;
    }
  }
}

TEST(RmsNorm, ReadsStridedRows) {
  const at::Tensor wide = draw(3, {3, 5, 40}, at::kFloat);
  const at::Tensor w = draw(4, {13}, at::kFloat);
  const at::Tensor view = wide.narrow(2, 9, 13);  // rows apart by more than their width
  EXPECT_TRUE(same_bits(rms_norm(view, w, kEps), rms_norm(view.contiguous(), w, kEps)));
  const at::Tensor swapped = view.transpose(0, 1);  // rows in no single stride
  EXPECT_TRUE(same_bits(rms_norm(swapped, w, kEps), rms_norm(swapped.contiguous(), w, kEps)));
}

TEST(RmsNorm, HasTheGradientOfCentralDifferences) {
  const auto f = [](const std::vector<at::Tensor>& in) { return rms_norm(in[0], in[1], kEps); };
  for (const int64_t D : {1, 7, 33}) {
    // One channel alone is y = w * sign(x) up to eps, whose slope the differences lose in rounding:
    // a larger eps.
    const auto f1 = [](const std::vector<at::Tensor>& in) { return rms_norm(in[0], in[1], 0.1); };
    const std::vector<at::Tensor> inputs{draw(5, {2, 5, D}), draw(6, {D})};
    EXPECT_TRUE(D == 1 ? gradients_match(f1, inputs) : gradients_match(f, inputs)) << D;
  }
  EXPECT_TRUE(
      gradients_match(f, {draw(7, {5, 3, 12}).narrow(2, 1, 9).transpose(0, 1), draw(8, {9})}));
}

TEST(RmsNorm, GradientInFp32AndBf16FollowsFp64) {
  const auto f = [](const std::vector<at::Tensor>& in) { return rms_norm(in[0], in[1], kEps); };
  const at::Tensor x = draw(9, {70, 65});
  const at::Tensor w = draw(10, {65});
  const at::Tensor g = draw(11, {70, 65});
  const auto to = [](const at::Tensor& t, at::ScalarType dtype) { return t.to(dtype); };
  const auto exact = tests::autograd_gradients(f, {x, w}, g);
  const auto g32 =
      tests::autograd_gradients(f, {to(x, at::kFloat), to(w, at::kFloat)}, to(g, at::kFloat));
  // dw sums 70 products: sqrt(70) more roundings at worst in one direction.
  EXPECT_TRUE(near_max(g32[0], exact[0], 2 * kTolerance32));
  EXPECT_TRUE(near_max(g32[1], exact[1], 4 * kTolerance32));
  const at::Tensor x16 = to(x, at::kBFloat16);
  const at::Tensor g16 = to(g, at::kBFloat16);
  const auto exact16 =
      tests::autograd_gradients(f, {to(x16, at::kDouble), w}, to(g16, at::kDouble));
  const auto got16 = tests::autograd_gradients(f, {x16, to(w, at::kFloat)}, g16);
  EXPECT_EQ(got16[1].scalar_type(), at::kFloat);
  EXPECT_TRUE(near_max(got16[0], exact16[0], kTolerance16));
  EXPECT_TRUE(near_max(got16[1], exact16[1], 4 * kTolerance32));
}

TEST(RmsNorm, GivesTheSameBitsWithAndWithoutGradient) {
  const at::Tensor x = draw(12, {9, 33}, at::kFloat);
  const at::Tensor w = draw(13, {33}, at::kFloat);
  const at::Tensor recorded = rms_norm(x.detach().requires_grad_(), w, kEps);
  EXPECT_TRUE(recorded.requires_grad());
  EXPECT_TRUE(same_bits(rms_norm(x, w, kEps), recorded));
}

TEST(RmsNormPair, GivesTheBitsAndGradientsOfTwo) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const auto rows = dtype == at::kBFloat16 ? at::kFloat : dtype;
    const at::Tensor both = draw(14, {2, 5, 50}, dtype);  // as one projection gives them
    const std::vector<at::Tensor> in{both.narrow(2, 0, 33),
                                     draw(15, {33}, rows),
                                     both.narrow(2, 33, 12).narrow(1, 1, 4),
                                     draw(16, {12}, rows)};
    const auto joined = [](const at::Tensor& a, const at::Tensor& b) {
      return at::cat({a.flatten(), b.flatten()});
    };
    const auto pair = [&](const std::vector<at::Tensor>& t) {
      const auto [first, second] = rms_norm_pair(t[0], t[1], t[2], t[3], kEps);
      return joined(first, second);
    };
    const auto two = [&](const std::vector<at::Tensor>& t) {
      return joined(rms_norm(t[0], t[1], kEps), rms_norm(t[2], t[3], kEps));
    };
    EXPECT_TRUE(same_bits(pair(in), two(in))) << dtype;
    const at::Tensor g = draw(17, {2 * 5 * 33 + 2 * 4 * 12}, dtype);
    const auto got = tests::autograd_gradients(pair, in, g);
    const auto expected = tests::autograd_gradients(two, in, g);
    for (size_t i = 0; i < in.size(); ++i)
      EXPECT_TRUE(same_bits(got[i], expected[i])) << i << dtype;
  }
}

TEST(RmsNorm, RefusesAWeightOfAnotherWidth) {
  EXPECT_THROW(rms_norm(at::ones({2, 4}), at::ones({3}), kEps), c10::Error);
}

}  // namespace
}  // namespace vmla::kernels
