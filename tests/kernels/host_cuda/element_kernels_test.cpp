#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cuda/launch.h"
#include "tests/kernels/host_cuda/buffer.h"

// Kernels in which a thread takes single numbers, and the rotation of heads.

namespace vmla::tests::host_cuda {
namespace {

using namespace kernels;

class ElementKernels : public testing::TestWithParam<Element> {};

INSTANTIATE_TEST_SUITE_P(Elements,
                         ElementKernels,
                         testing::Values(Element::kFloat, Element::kBFloat16));

TEST_P(ElementKernels, GeluFollowsTheDefinitionInEveryOrder) {
  const double c = std::sqrt(2 / M_PI), k = 0.044715;
  // In packs: 1008. Of a whole number of packs, but not where one may begin: 1000.
  for (const int64_t n : {0, 1, 257, 1003, 1000, 1008}) {
    Buffer x(GetParam(), 1, n, 0, n % 3), grad(GetParam(), 1, n, 0, n % 2);
    Buffer y(GetParam(), 1, n, 0, n % 3), dx(GetParam(), 1, n);
    x.draw(1);
    grad.draw(2);
    for (int64_t i = 0; i < n; i += 5) x.set(0, i, 4 * x.at(0, i));  // up to 8, where it is flat
    run_in_all_orders("gelu_tanh", {&y}, [&] {
      return cuda::launch_gelu_tanh({GetParam(), x.data(), y.data(), n}, nullptr);
    });
    run_in_all_orders("gelu_tanh backward", {&dx}, [&] {
      return cuda::launch_gelu_tanh_backward({GetParam(), grad.data(), x.data(), dx.data(), n},
                                             nullptr);
    });
    // A rounding of z moves e^-z by |z| of them, and the result by that times 1 - sigmoid(z); four
    // stand in z, the others in a row behind it.
    const auto z_of = [&](double v) { return 2 * c * (v + k * v * v * v); };
    const auto sigmoid = [&](double v) { return 1 / (1 + std::exp(-z_of(v))); };
    expect_near("gelu_tanh", y, 8, [&](int64_t, int64_t i) {
      const double v = x.at(0, i), s = sigmoid(v);
      return Expected{v * s, std::abs(v) * s * (1 + (1 - s) * std::abs(z_of(v)))};
    });
    expect_near("gelu_tanh gradient", dx, 12, [&](int64_t, int64_t i) {
      const double v = x.at(0, i), s = sigmoid(v), bend = s * (1 - s);
      const double slope = 2 * c * (1 + 3 * k * v * v), part = std::abs(v) * slope;
      return Expected{
          grad.at(0, i) * (s + v * bend * slope),
          std::abs(grad.at(0, i)) * (s + bend * part + std::abs(z_of(v)) * bend * (1 + part))};
    });
  }
}

TEST_P(ElementKernels, GeluIsDefinedFarOut) {
  Buffer x(GetParam(), 1, 5), ones(GetParam(), 1, 5), y(GetParam(), 1, 5), dx(GetParam(), 1, 5);
  const double points[] = {-1e30, -128, 0, 128, 1e30}, slopes[] = {0, 0, 0.5, 1, 1};
  for (int64_t i = 0; i < 5; ++i) x.set(0, i, points[i]), ones.set(0, i, 1);
  ASSERT_EQ(cuda::launch_gelu_tanh({GetParam(), x.data(), y.data(), 5}, nullptr), 0);
  ASSERT_EQ(
      cuda::launch_gelu_tanh_backward({GetParam(), ones.data(), x.data(), dx.data(), 5}, nullptr),
      0);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(y.at(0, i), std::max(x.at(0, i), 0.0)) << points[i];
    EXPECT_EQ(dx.at(0, i), slopes[i]) << points[i];
  }
}

struct Heads {
  int64_t B, L, N, K, pairs, first_channel;
};

void check_rope(Element element, const Heads& n, bool inverse, int64_t gap) {
  Buffer x(element, n.B * n.L * n.N, n.K, gap, gap), y(element, n.B * n.L * n.N, n.K, 0, gap);
  Buffer cos(Element::kFloat, n.L, n.pairs), sin(Element::kFloat, n.L, n.pairs);
  x.draw(1);
  cos.draw(2);
  sin.draw(3);
  run_in_all_orders("rope", {&y}, [&] {
    return cuda::launch_rope({.element = element,
                              .x = x.data(),
                              .x_batch_stride = n.L * n.N * x.stride(),
                              .x_token_stride = n.N * x.stride(),
                              .x_head_stride = x.stride(),
                              .cos = cos.data(),
                              .sin = sin.data(),
                              .y = y.data(),
                              .B = n.B,
                              .L = n.L,
                              .N = n.N,
                              .K = n.K,
                              .num_pairs = n.pairs,
                              .first_channel = n.first_channel,
                              .inverse = inverse},
                             nullptr);
  });
  expect_near("rope", y, 2, [&](int64_t row, int64_t d) {
    const int64_t pair = (d - n.first_channel) / 2, l = row / n.N % n.L;
    if (d < n.first_channel || pair >= n.pairs) return Expected{x.at(row, d), 0};
    const bool second = (d - n.first_channel) % 2 == 1;
    const double c = cos.at(l, pair), s = sin.at(l, pair) * (inverse ? -1 : 1);
    const double other = x.at(row, second ? d - 1 : d + 1) * (second ? s : -s);
    return Expected{x.at(row, d) * c + other, std::abs(x.at(row, d) * c) + std::abs(other)};
  });
}

TEST_P(ElementKernels, RopeFollowsTheDefinitionInEveryOrder) {
  for (const bool inverse : {false, true}) {
    check_rope(GetParam(), {2, 0, 3, 12, 3, 2}, inverse, 0);
    check_rope(GetParam(), {2, 9, 3, 130, 40, 33}, inverse, 3);  // channels pass by on both sides
    check_rope(GetParam(), {1, 5, 1, 64, 32, 0}, inverse, 0);
    check_rope(GetParam(), {1, 5, 2, 7, 0, 0}, inverse, 1);  // no pairs: a copy
  }
}

AdamwParams step_of(Buffer& param, Buffer& grad, Buffer* first, Buffer& second, Buffer& scale) {
  return {.param = param.floats(),
          .grad = grad.floats(),
          .exp_avg = first == nullptr ? nullptr : first->floats(),
          .exp_avg_sq = second.floats(),
          .count = param.channels(),
          .grad_scale = scale.floats(),
          .decay = 0.999f,
          .beta1 = 0.9f,
          .beta2 = 0.99f,
          .one_minus_beta1 = 0.1f,
          .one_minus_beta2 = 0.01f,
          .step_size = 0.0625f,
          .root_correction = 1.5f,
          .eps = 1e-8f};
}

void check_adamw(int64_t n, bool with_moment, double factor) {
  Buffer param(Element::kFloat, 1, n, 0, n % 3), grad(Element::kFloat, 1, n, 0, 1);
  Buffer first(Element::kFloat, 1, n), second(Element::kFloat, 1, n), scale(Element::kFloat, 1, 1);
  const auto fill = [&] {
    param.draw(1), grad.draw(2), first.draw(3), second.draw(4);
    for (int64_t i = 0; i < n; ++i) second.set(0, i, std::abs(second.at(0, i)));
    scale.set(0, 0, factor);
  };
  fill();
  const Buffer before = param, moment_before = first, square_before = second;
  const AdamwParams a = step_of(param, grad, with_moment ? &first : nullptr, second, scale);
  run_in_all_orders("adamw", {&param, &first, &second}, [&] {
    fill();
    return cuda::launch_adamw(a, nullptr);
  });
  if (!std::isfinite(factor)) {
    EXPECT_TRUE(param.bytes() == before.bytes() && second.bytes() == square_before.bytes() &&
                first.bytes() == moment_before.bytes())
        << "written in spite of a factor of " << factor;
    return;
  }
  expect_near("adamw second moment", second, 5, [&](int64_t, int64_t i) {
    const double g = grad.at(0, i) * factor;
    const double square = square_before.at(0, i) * a.beta2 + g * g * a.one_minus_beta2;
    return Expected{square, square};
  });
  expect_near("adamw", param, 16, [&](int64_t, int64_t i) {
    const double g = grad.at(0, i) * factor;
    const double kept = moment_before.at(0, i) * a.beta1, added = g * a.one_minus_beta1;
    const double moment = with_moment ? kept + added : g;
    const double size = with_moment ? std::abs(kept) + std::abs(added) : std::abs(g);
    const double square = square_before.at(0, i) * a.beta2 + g * g * a.one_minus_beta2;
    const double step = a.step_size / (std::sqrt(square) * a.root_correction + a.eps);
    return Expected{before.at(0, i) * a.decay - step * moment,
                    std::abs(before.at(0, i)) + step * size};
  });
}

TEST(AdamwKernel, FollowsTheDefinitionInEveryOrder) {
  for (const int64_t n : {0, 1, 257, 1501}) {
    for (const bool with_moment : {false, true}) {
      check_adamw(n, with_moment, 0.25);
      check_adamw(n, with_moment, std::numeric_limits<double>::infinity());
      check_adamw(n, with_moment, std::numeric_limits<double>::quiet_NaN());
    }
  }
}

}  // namespace
}  // namespace vmla::tests::host_cuda
