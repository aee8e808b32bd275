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
    check_rope(GetParam(), {1, 5, 2, 7, 0, 0}, inverse, 1);      // no pairs: a copy
    check_rope(GetParam(), {2, 5, 3, 128, 16, 96}, inverse, 0);  // of wan1.3b, in packs
    check_rope(GetParam(), {2, 3, 2, 48, 8, 16}, inverse, 8);    // on both sides, with gaps
    check_rope(GetParam(), {2, 3, 2, 48, 8, 12}, inverse, 8);    // a pack would be turned by half
    check_rope(GetParam(), {2, 3, 2, 48, 6, 16}, inverse, 8);
    check_rope(GetParam(), {2, 3, 2, 48, 8, 16}, inverse, 4);    // where none may begin
    check_rope(GetParam(), {1, 2, 1, 320, 160, 0}, inverse, 0);  // more than a warp takes at once
  }
}

/// Rows of a window and of the sequence: two parts with gaps, of which the window may be in eight
/// bits.
struct LatentCase {
  Element element;
  int64_t R, pairs, window, own, gap;
  bool eight_bits;
  int64_t nope = 2, behind = 1, key_gap = 1;  // of the queries; between two keys of the sequence

  static constexpr int64_t kBatch = 2, kTokens = 4, kHeads = 3;
  int64_t rows() const { return window + own; }
  Buffer contents[2]{Buffer(element, kBatch* window, R, gap, gap).draw(1),
                     Buffer(element, kBatch* own, R, 2 * gap, 0).draw(2)};
  Buffer keys[2]{Buffer(element, kBatch* window, 2 * pairs, gap).draw(3),
                 Buffer(element, kBatch* own, 2 * pairs, key_gap).draw(4)};
  Buffer scale{Buffer(Element::kBFloat16, kBatch* window, 1).draw(5)};
  int64_t step_stride() const { return R + gap; }
  std::vector<int8_t> steps = std::vector<int8_t>(kBatch * window * (R + gap));
  Buffer cos{Buffer(Element::kFloat, rows(), pairs).draw(6)};
  Buffer sin{Buffer(Element::kFloat, rows(), pairs).draw(7)};
  Buffer query{Buffer(element, kBatch* kTokens* kHeads, nope + 2 * pairs + behind).draw(8)};
  Buffer query_cos{Buffer(Element::kFloat, kTokens, pairs).draw(9)};
  Buffer query_sin{Buffer(Element::kFloat, kTokens, pairs).draw(10)};

  LatentPartParams part(size_t i) {
    const int64_t tokens = i == 0 ? window : own;
    return {.content = contents[i].data(),
            .content_batch_stride = tokens * contents[i].stride(),
            .content_token_stride = contents[i].stride(),
            .key = keys[i].data(),
            .key_batch_stride = tokens * keys[i].stride(),
            .key_token_stride = keys[i].stride(),
            .tokens = tokens};
  }
  /// Content and key of row m of batch b, and where they stand.
  Expected content(int64_t b, int64_t m, int64_t r) const {
    const bool in_window = m < window;
    const int64_t row = in_window ? b * window + m : b * own + m - window;
    if (in_window && eight_bits) {
      const double value = steps[static_cast<size_t>(row * step_stride() + r)] * scale.at(row, 0);
      return {value, std::abs(value)};
    }
    return {contents[in_window ? 0 : 1].at(row, r), 0};
  }
  double key(int64_t b, int64_t m, int64_t d) const {
    return m < window ? keys[0].at(b * window + m, d) : keys[1].at(b * own + m - window, d);
  }
};

void check_rope_latents(LatentCase c) {
  const int64_t B = LatentCase::kBatch, L = LatentCase::kTokens, N = LatentCase::kHeads;
  for (size_t i = 0; i < c.steps.size(); ++i)
    c.steps[i] = static_cast<int8_t>(static_cast<int64_t>(i * 37 % 255) - 127);
  Buffer rows(c.element, B * c.rows(), c.R + 2 * c.pairs),
      rotated(c.element, B * L * N, c.query.channels());
  RopeLatentsParams params{.query = {.element = c.element,
                                     .x = c.query.data(),
                                     .x_batch_stride = L * N * c.query.stride(),
                                     .x_token_stride = N * c.query.stride(),
                                     .x_head_stride = c.query.stride(),
                                     .cos = c.query_cos.data(),
                                     .sin = c.query_sin.data(),
                                     .y = rotated.data(),
                                     .B = B,
                                     .L = L,
                                     .N = N,
                                     .K = c.query.channels(),
                                     .num_pairs = c.pairs,
                                     .first_channel = c.nope,
                                     .inverse = false},
                           .window = c.part(0),
                           .own = c.part(1),
                           .cos = c.cos.data(),
                           .sin = c.sin.data(),
                           .rows = rows.data(),
                           .R = c.R,
                           .num_pairs = c.pairs};
  if (c.eight_bits) {
    params.window.content = c.steps.data();
    params.window.content_batch_stride = c.window * c.step_stride();
    params.window.content_token_stride = c.step_stride();
    params.window.scale = c.scale.data();
    params.window.scale_batch_stride = c.window;
    params.window.scale_token_stride = 1;
  }
  run_in_all_orders("rope_latents", {&rows, &rotated}, [&] {
    return cuda::launch_rope_latents(params, nullptr);
  });
  expect_near("rope_latents", rows, 2, [&](int64_t row, int64_t d) {
    const int64_t b = row / c.rows(), m = row % c.rows();
    if (d < c.R) return c.content(b, m, d);
    const int64_t pair = (d - c.R) / 2;
    const bool second = (d - c.R) % 2 == 1;
    const double cosine = c.cos.at(m, pair), sine = c.sin.at(m, pair);
    const double own = c.key(b, m, d - c.R) * cosine;
    const double other = c.key(b, m, second ? d - c.R - 1 : d - c.R + 1) * (second ? sine : -sine);
    return Expected{own + other, std::abs(own) + std::abs(other)};
  });
  expect_near("rope_latents query", rotated, 2, [&](int64_t row, int64_t d) {
    const int64_t pair = (d - c.nope) / 2, l = row / N % L;
    if (d < c.nope || pair >= c.pairs) return Expected{c.query.at(row, d), 0};
    const bool second = (d - c.nope) % 2 == 1;
    const double own = c.query.at(row, d) * c.query_cos.at(l, pair);
    const double other = c.query.at(row, second ? d - 1 : d + 1) *
                         (second ? c.query_sin.at(l, pair) : -c.query_sin.at(l, pair));
    return Expected{own + other, std::abs(own) + std::abs(other)};
  });
}

TEST_P(ElementKernels, RopeLatentsFollowTheDefinitionInEveryOrder) {
  for (const bool eight_bits : {false, true}) {
    check_rope_latents({GetParam(), 33, 5, 7, 3, 3, eight_bits});
    check_rope_latents({GetParam(), 192, 16, 5, 4, 0, eight_bits});  // of wan1.3b, in packs
    check_rope_latents({GetParam(), 264, 4, 2, 3, 8, eight_bits});   // packs with gaps
    check_rope_latents({GetParam(), 264, 4, 2, 3, 4, eight_bits});   // where none may begin
    check_rope_latents({GetParam(), 8, 1, 0, 3, 0, eight_bits});     // no window
    // Queries and keys in packs, too; then the keys of the sequence lie where none may begin.
    check_rope_latents({GetParam(), 192, 16, 5, 4, 0, eight_bits, 96, 0, 0});
    check_rope_latents({GetParam(), 40, 8, 2, 3, 8, eight_bits, 8, 16, 8});
    check_rope_latents({GetParam(), 40, 8, 2, 3, 8, eight_bits, 8, 16, 4});
    check_rope_latents({GetParam(), 33, 8, 2, 3, 8, eight_bits, 8, 16, 8});  // latents alone
  }
}

void check_merge_part(Element element, int64_t V, int64_t gap, bool empty_rows) {
  const int64_t B = 2, L = 5, N = 3;
  Buffer part(element, B * L * N, V, gap, gap), part_lse(Element::kFloat, B * N, L, 2);
  // Rows of all heads of a token are dense; tokens have a gap.
  Buffer out(Element::kFloat, B * L, N * V, gap, gap), lse(Element::kFloat, B * N, L, 1);
  part.draw(1), part_lse.draw(2);
  const auto fill = [&] {
    out.draw(3), lse.draw(4);
    for (int64_t l = 0; empty_rows && l < L; l += 2) lse.set(1, l, -INFINITY);
  };
  fill();
  const Buffer out_before = out, lse_before = lse;
  run_in_all_orders("merge_part", {&out, &lse}, [&] {
    fill();
    return cuda::launch_merge_part({.element = element,
                                    .out = out.data(),
                                    .out_batch_stride = L * out.stride(),
                                    .out_token_stride = out.stride(),
                                    .lse = lse.data(),
                                    .lse_batch_stride = N * lse.stride(),
                                    .lse_head_stride = lse.stride(),
                                    .part = part.data(),
                                    .part_batch_stride = L * N * part.stride(),
                                    .part_token_stride = N * part.stride(),
                                    .part_head_stride = part.stride(),
                                    .part_lse = part_lse.data(),
                                    .part_lse_batch_stride = N * part_lse.stride(),
                                    .part_lse_head_stride = part_lse.stride(),
                                    .B = B,
                                    .L = L,
                                    .N = N,
                                    .V = V},
                                   nullptr);
  });
  const auto total = [&](int64_t head, int64_t l) {
    return std::log(std::exp(lse_before.at(head, l)) + std::exp(part_lse.at(head, l)));
  };
  // Sums of a few units: an absolute error of some roundings of them.
  expect_near("merge_part lse", lse, 4, [&](int64_t head, int64_t l) {
    return Expected{total(head, l), 4};
  });
  expect_near("merge_part", out, 12, [&](int64_t token, int64_t d) {
    const int64_t b = token / L, l = token % L, n = d / V, head = b * N + n;
    const double kept = std::exp(lse_before.at(head, l) - total(head, l));
    const double added = std::exp(part_lse.at(head, l) - total(head, l));
    const double own = kept * out_before.at(token, d);
    const double other = added * part.at((b * L + l) * N + n, d % V);
    return Expected{own + other, std::abs(own) + std::abs(other)};
  });
}

TEST_P(ElementKernels, MergePartFollowsTheDefinitionInEveryOrder) {
  for (const bool empty_rows : {false, true}) {
    check_merge_part(GetParam(), 33, 3, empty_rows);
    check_merge_part(GetParam(), 128, 0, empty_rows);  // of wan1.3b, in packs
    check_merge_part(GetParam(), 264, 8, empty_rows);  // packs with gaps
    check_merge_part(GetParam(), 264, 4, empty_rows);  // where none may begin
  }
}

/// What follows the parameters of a step.
enum class Following { kNothing, kCopy, kAverage, kAverageFromItsEnd };

/// The buffers of one step, which begin where packs may or not, and what they hold before it.
struct AdamwBuffers {
  AdamwBuffers(int64_t n, int64_t offset)
      : param(Element::kFloat, 1, n, 0, 2 * offset),
        grad(Element::kFloat, 1, n, 0, offset),
        first(Element::kFloat, 1, n),
        second(Element::kFloat, 1, n),
        scale(Element::kFloat, 1, 1),
        average(Element::kFloat, 1, n, 0, 3 * offset),
        rounded(Element::kBFloat16, 1, n, 0, offset),
        rounded_average(Element::kBFloat16, 1, n) {}

  void fill(double factor) {
    param.draw(1), grad.draw(2), first.draw(3), second.draw(4), average.draw(5);
    rounded.draw(6), rounded_average.draw(7);
    for (int64_t i = 0; i < param.channels(); ++i) second.set(0, i, std::abs(second.at(0, i)));
    scale.set(0, 0, factor);
  }
  std::vector<Buffer*> written() {
    return {&param, &first, &second, &average, &rounded, &rounded_average};
  }

  Buffer param, grad, first, second, scale, average, rounded, rounded_average;
};

AdamwParams step_of(AdamwBuffers& b, bool with_moment, Following following) {
  AdamwParams params{.param = b.param.floats(),
                     .grad = b.grad.floats(),
                     .exp_avg = with_moment ? b.first.floats() : nullptr,
                     .exp_avg_sq = b.second.floats(),
                     .count = b.param.channels(),
                     .grad_scale = b.scale.floats(),
                     .decay = 0.999f,
                     .beta1 = 0.9f,
                     .beta2 = 0.99f,
                     .one_minus_beta1 = 0.1f,
                     .one_minus_beta2 = 0.01f,
                     .step_size = 0.0625f,
                     .root_correction = 1.5f,
                     .eps = 1e-8f};
  if (following == Following::kNothing) return params;
  params.rounded = b.rounded.data();
  if (following == Following::kCopy) return params;
  params.average = b.average.floats();
  params.rounded_average = b.rounded_average.data();
  params.average_from_param = following == Following::kAverageFromItsEnd;
  params.difference_factor = params.average_from_param ? -0.375f : 0.25f;
  return params;
}

/// `copy` is the nearest bf16 to each number.
void expect_rounded(const std::string& what, const Buffer& copy, const Buffer& of) {
  expect_near(what, copy, 0, [&](int64_t, int64_t i) {
    return Expected{of.at(0, i), std::abs(of.at(0, i))};
  });
}

void check_adamw(int64_t n, int64_t offset, bool with_moment, Following following, double factor) {
  AdamwBuffers b(n, offset);
  b.fill(factor);
  AdamwBuffers before = b;
  const AdamwParams a = step_of(b, with_moment, following);
  run_in_all_orders("adamw", b.written(), [&] {
    b.fill(factor);
    return cuda::launch_adamw(a, nullptr);
  });
  const auto is_as_before = [&](size_t buffer) {
    return b.written()[buffer]->bytes() == before.written()[buffer]->bytes();
  };
  if (!std::isfinite(factor)) {
    for (size_t i = 0; i < b.written().size(); ++i)
      EXPECT_TRUE(is_as_before(i)) << "buffer " << i << " written in spite of " << factor;
    return;
  }
  expect_near("adamw second moment", b.second, 5, [&](int64_t, int64_t i) {
    const double g = b.grad.at(0, i) * factor;
    const double square = before.second.at(0, i) * a.beta2 + g * g * a.one_minus_beta2;
    return Expected{square, square};
  });
  expect_near("adamw", b.param, 16, [&](int64_t, int64_t i) {
    const double g = b.grad.at(0, i) * factor;
    const double kept = before.first.at(0, i) * a.beta1, added = g * a.one_minus_beta1;
    const double moment = with_moment ? kept + added : g;
    const double size = with_moment ? std::abs(kept) + std::abs(added) : std::abs(g);
    const double square = before.second.at(0, i) * a.beta2 + g * g * a.one_minus_beta2;
    const double step = a.step_size / (std::sqrt(square) * a.root_correction + a.eps);
    return Expected{before.param.at(0, i) * a.decay - step * moment,
                    std::abs(before.param.at(0, i)) + step * size};
  });
  const double weight = a.average_from_param ? a.difference_factor + 1 : a.difference_factor;
  expect_near("average", b.average, a.average == nullptr ? 0 : 4, [&](int64_t, int64_t i) {
    const double old = before.average.at(0, i), now = b.param.at(0, i);
    return Expected{old + weight * (now - old), std::abs(old) + std::abs(now)};
  });
  if (a.rounded == nullptr) {
    EXPECT_TRUE(is_as_before(4)) << "a copy that nobody asked for";
  } else {
    expect_rounded("copy", b.rounded, b.param);
  }
  if (a.rounded_average == nullptr) {
    EXPECT_TRUE(is_as_before(5)) << "a copy of an average that is not there";
  } else {
    expect_rounded("copy of the average", b.rounded_average, b.average);
  }
}

TEST(AdamwKernel, FollowsTheDefinitionInEveryOrder) {
  for (const int64_t n : {0, 1, 257, 1501, 1504}) {
    for (const int64_t offset : {0, 1}) {  // in packs with a rest, and one by one
      for (const bool with_moment : {false, true}) {
        for (const Following following : {Following::kNothing,
                                          Following::kCopy,
                                          Following::kAverage,
                                          Following::kAverageFromItsEnd}) {
          for (const double factor : {0.25,
                                      std::numeric_limits<double>::infinity(),
                                      std::numeric_limits<double>::quiet_NaN()})
            check_adamw(n, offset, with_moment, following, factor);
        }
      }
    }
  }
}

/// Copies alone may lie where no pack may begin.
TEST(AdamwKernel, CopiesDecideAboutPacksToo) {
  for (const bool of_average : {false, true}) {
    AdamwBuffers b(1504, 0);
    Buffer shifted(Element::kBFloat16, 1, 1504, 0, 1);
    AdamwParams a = step_of(b, true, Following::kAverage);
    (of_average ? a.rounded_average : a.rounded) = shifted.data();
    run_in_all_orders("adamw", {&shifted}, [&] {
      b.fill(0.25);
      return cuda::launch_adamw(a, nullptr);
    });
    expect_rounded("copy", shifted, of_average ? b.average : b.param);
  }
}

}  // namespace
}  // namespace vmla::tests::host_cuda
