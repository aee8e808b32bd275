#include "kernels/adamw/adamw.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <vector>

#include "tests/kernels/draws.h"
#include "tests/support/tensor_match.h"

namespace vmla::kernels {
namespace {

using tests::draw;
using tests::near_max;

AdamwSettings params_of(int64_t step, double beta1) {
  return {
      .lr = 1e-2, .beta1 = beta1, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .step = step};
}

/// Clipping's factor in fp32; the reference sees the same number.
at::Tensor scale_of(double value = 0.7) {
  return at::scalar_tensor(value, at::kFloat);
}

TEST(Adamw, FollowsTheReferenceInFp64OverTwentySteps) {
  for (const int64_t n : {1, 7, 33, 1000}) {
    for (const double beta1 : {0.0, 0.9}) {
      const at::Tensor start = draw(1, {n});
      at::Tensor p64 = start.clone();
      at::Tensor v64 = at::zeros_like(p64);
      at::Tensor m64 = beta1 == 0 ? at::Tensor() : at::zeros_like(p64);
      at::Tensor p32 = start.to(at::kFloat);
      at::Tensor v32 = at::zeros_like(p32);
      at::Tensor m32 = beta1 == 0 ? at::Tensor() : at::zeros_like(p32);
      for (int64_t step = 1; step <= 20; ++step) {
        const at::Tensor g32 = draw(100 + static_cast<uint64_t>(step), {n}, at::kFloat);
        adamw_step_reference_(
            p64, g32.to(at::kDouble), m64, v64, scale_of(), params_of(step, beta1));
        adamw_step_(p32, g32, m32, v32, scale_of(), params_of(step, beta1));
      }
      // 20 updates of at most lr * 4, each rounded a few times at 2^-24 of |p| <= 4.
      EXPECT_TRUE(near_max(p32, p64, 40 * 0x1p-24)) << n << " " << beta1;
      EXPECT_TRUE(near_max(v32, v64, 40 * 0x1p-24)) << n << " " << beta1;
      if (beta1 != 0) {
        EXPECT_TRUE(near_max(m32, m64, 40 * 0x1p-24)) << n;
      }
    }
  }
}

TEST(Adamw, TakesTheFirstStepOfTheFormula) {
  // m / (1 - b1) = g and v / (1 - b2) = g^2, so the first update is -lr * sign(g) after the decay.
  at::Tensor p = at::tensor({1.0f, -2.0f});
  at::Tensor m = at::zeros(2);
  at::Tensor v = at::zeros(2);
  adamw_step_(p, at::tensor({3.0f, -0.5f}), m, v, scale_of(), params_of(1, 0.9));
  EXPECT_TRUE(near_max(p, at::tensor({1 * 0.999 - 0.01, -2 * 0.999 + 0.01}), 4 * 0x1p-24));
}

TEST(Adamw, WithoutFirstMomentEqualsAZeroBeta) {
  at::Tensor p = draw(2, {33}, at::kFloat);
  at::Tensor q = p.to(at::kDouble);
  at::Tensor none, v = at::zeros(33), w = at::zeros(33, at::kDouble),
                   m = at::zeros(33, at::kDouble);
  for (int64_t step = 1; step <= 3; ++step) {
    const at::Tensor g = draw(200 + static_cast<uint64_t>(step), {33}, at::kFloat);
    adamw_step_(p, g, none, v, scale_of(), params_of(step, 0.0));
    adamw_step_reference_(q, g.to(at::kDouble), m, w, scale_of(), params_of(step, 0.0));
  }
  EXPECT_TRUE(near_max(p, q, 12 * 0x1p-24));
}

TEST(Adamw, UpdatesAViewInsideAFlatBuffer) {
  at::Tensor flat = draw(3, {40}, at::kFloat);
  at::Tensor before = flat.clone();
  at::Tensor p = flat.narrow(0, 5, 33);
  at::Tensor none, v = at::zeros(33);
  adamw_step_(p, draw(4, {33}, at::kFloat), none, v, scale_of(), params_of(1, 0.0));
  EXPECT_TRUE(tests::same_bits(flat.narrow(0, 0, 5), before.narrow(0, 0, 5)));
  EXPECT_TRUE(tests::same_bits(flat.narrow(0, 38, 2), before.narrow(0, 38, 2)));
  EXPECT_FALSE(at::equal(p, before.narrow(0, 5, 33)));
}

/// Buffers that follow 1500 parameters: more than one block of the loops, and a rest.
struct Followed {
  at::Tensor param = draw(7, {1500}, at::kFloat), second = at::zeros(1500), none;
  AdamwFollowers followers{.rounded = at::full({1500}, 5, at::kBFloat16),
                           .average = draw(8, {1500}, at::kFloat),
                           .average_decay = 0.75,
                           .rounded_average = at::full({1500}, 5, at::kBFloat16)};
  void step(double scale = 0.7) {
    adamw_step_(param,
                draw(9, {1500}, at::kFloat),
                none,
                second,
                scale_of(scale),
                params_of(1, 0.0),
                followers);
  }
};

TEST(Adamw, AnAverageFollowsAsLerpDoes) {
  for (const double decay : {0.0, 0.25, 0.5, 0.999}) {
    Followed f;
    f.followers.average_decay = decay;
    const at::Tensor before = f.followers.average.to(at::kDouble);
    f.step();
    const at::Tensor expected = at::lerp(before, f.param.to(at::kDouble), 1 - decay);
    // A difference, a product and a sum of numbers below 8, each rounded once.
    EXPECT_TRUE(near_max(f.followers.average, expected, 4 * 0x1p-24)) << decay;
    if (decay == 0) {
      EXPECT_TRUE(tests::same_bits(f.followers.average, f.param));
    }
  }
}

TEST(Adamw, CopiesAreTheNearestInBf16) {
  // Halves to even in both directions, numbers that are none, and one below the smallest normal.
  const std::vector<float> odd{1 + 0x1p-8f,
                               1 + 3 * 0x1p-8f,
                               -1 - 0x1p-8f,
                               3.4e38f,
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN(),
                               1e-40f};
  Followed f;
  f.param.narrow(0, 3, 7).copy_(at::tensor(odd));
  f.followers.average_decay = 0;
  const at::Tensor before = f.param.clone();
  AdamwSettings still = params_of(1, 0.0);
  still.lr = 0;
  adamw_step_(
      f.param, draw(9, {1500}, at::kFloat), f.none, f.second, scale_of(), still, f.followers);
  EXPECT_TRUE(near_max(f.param, before, 0));
  EXPECT_TRUE(near_max(f.followers.rounded, before.to(at::kBFloat16), 0));
  EXPECT_TRUE(near_max(f.followers.rounded_average, f.followers.average.to(at::kBFloat16), 0));
}

TEST(Adamw, ParametersAreTheSameWithoutFollowers) {
  Followed with, without;
  without.followers = {};
  with.step(), without.step();
  EXPECT_TRUE(tests::same_bits(with.param, without.param));
  EXPECT_TRUE(tests::same_bits(with.second, without.second));
}

TEST(Adamw, FollowersStayAtAScaleThatIsNotFinite) {
  Followed f, before;
  f.step(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(tests::same_bits(f.followers.average, before.followers.average));
  EXPECT_TRUE(tests::same_bits(f.followers.rounded, before.followers.rounded));
  EXPECT_TRUE(tests::same_bits(f.followers.rounded_average, before.followers.rounded_average));
}

TEST(Adamw, RefusesFollowersThatDoNotFit) {
  for (const auto& change : std::vector<std::function<void(AdamwFollowers&)>>{
           [](AdamwFollowers& f) { f.rounded = at::zeros(1500); },
           [](AdamwFollowers& f) { f.average = at::zeros(1499); },
           [](AdamwFollowers& f) { f.average = at::zeros(1500, at::kDouble); },
           [](AdamwFollowers& f) { f.average = at::zeros({1500, 2}).select(1, 0); },
           [](AdamwFollowers& f) { f.average.reset(); },  // which leaves its copy alone
           [](AdamwFollowers& f) { f.rounded_average = at::zeros(1500, at::kHalf); },
           [](AdamwFollowers& f) { f.average_decay = 1; }}) {
    Followed f;
    change(f.followers);
    EXPECT_THROW(f.step(), c10::Error);
  }
}

TEST(Adamw, WritesNothingAtAScaleThatIsNotFinite) {
  for (const double scale :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    at::Tensor p = draw(5, {33}, at::kFloat), m = at::zeros(33), v = at::zeros(33);
    const at::Tensor before = p.clone(), g = draw(6, {33}, at::kFloat);
    adamw_step_(p, g, m, v, scale_of(scale), params_of(1, 0.9));
    adamw_step_reference_(p, g, m, v, scale_of(scale), params_of(1, 0.9));
    EXPECT_TRUE(tests::same_bits(p, before));
    EXPECT_TRUE(tests::same_bits(m, at::zeros(33)));
    EXPECT_TRUE(tests::same_bits(v, at::zeros(33)));
  }
}

TEST(Adamw, RefusesWhatItCannotUpdate) {
  at::Tensor p = at::zeros({4}), v = at::zeros({4}), m = at::zeros({4}), none;
  at::Tensor strided = at::zeros({4, 2}).select(1, 0);
  EXPECT_THROW(adamw_step_(strided, p, m, v, scale_of(), params_of(1, 0.9)), c10::Error);
  EXPECT_THROW(adamw_step_(p, at::zeros({3}), m, v, scale_of(), params_of(1, 0.9)), c10::Error);
  EXPECT_THROW(adamw_step_(p, p, none, v, scale_of(), params_of(1, 0.9)), c10::Error);
  EXPECT_THROW(adamw_step_(p, p, m, v, scale_of(), params_of(1, 0.0)), c10::Error);
  EXPECT_THROW(adamw_step_(p, p, m, v, scale_of(), params_of(0, 0.9)), c10::Error);
}

}  // namespace
}  // namespace vmla::kernels
