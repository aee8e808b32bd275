#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "kernels/cuda/launch.h"
#include "tests/kernels/host_cuda/buffer.h"

namespace vmla::tests::host_cuda {
namespace {

using namespace kernels;
using enum Element;

constexpr double kEps = 1e-6;

struct Sizes {
  Element element, y_element, row_element;
  int64_t frames, S, D;
  int64_t gap, offset;
  int64_t y_gap = 0;  // more between tokens of y

  int64_t tokens() const { return frames * S; }
  std::string name() const {
    return std::to_string(frames) + "x" + std::to_string(S) + "x" + std::to_string(D) + ", gap " +
           std::to_string(gap) + ", elements " + std::to_string(static_cast<int>(element)) +
           std::to_string(static_cast<int>(y_element)) +
           std::to_string(static_cast<int>(row_element));
  }
  /// [frames * S, D]: tokens with a gap, so that frames have one too.
  Buffer tokens_with_gaps(uint64_t stream) const {
    return Buffer(element, tokens(), D, gap, offset).draw(stream);
  }
  Buffer y_tokens_with_gaps(uint64_t stream) const {
    return Buffer(y_element, tokens(), D, gap + y_gap, offset).draw(stream);
  }
  Buffer frame_rows(uint64_t stream) const {
    return Buffer(row_element, frames, D, 3 * gap, offset).draw(stream);
  }
  Buffer dense_tokens() const { return {element, tokens(), D, 0, offset}; }
  Buffer dense_y_tokens() const { return {y_element, tokens(), D, 0, offset}; }
  Buffer dense_frames() const { return {row_element, frames, D, 0, offset}; }
};

/// What is normalised: x, or x and what is added to it.
enum class Residual { kNone, kPlain, kGated };

struct LayerNorm {
  Sizes n;
  Residual residual = Residual::kNone;
  float offset = 1;  // of the scale: 0 for a gain
  Buffer x = n.tokens_with_gaps(1), grad = n.y_tokens_with_gaps(2);
  Buffer shift = n.frame_rows(3), scale = n.frame_rows(4);
  Buffer update = n.y_tokens_with_gaps(9), gate = n.frame_rows(10);
  Buffer grad_sum = n.tokens_with_gaps(11), sum = n.dense_tokens();
  Buffer mean{Element::kFloat, n.tokens(), 1}, rstd{Element::kFloat, n.tokens(), 1};
};

/// What fp64 makes of a row: its mean, that of its sizes, and rstd.
struct RowStatistics {
  double mean = 0, mean_size = 0, rstd = 0;
};

RowStatistics statistics_of(const Buffer& x, int64_t row) {
  RowStatistics s;
  const auto D = static_cast<double>(x.channels());
  for (int64_t d = 0; d < x.channels(); ++d) {
    s.mean += x.at(row, d) / D;
    s.mean_size += std::abs(x.at(row, d)) / D;
  }
  double variance = 0;
  for (int64_t d = 0; d < x.channels(); ++d) variance += std::pow(x.at(row, d) - s.mean, 2) / D;
  s.rstd = 1 / std::sqrt(variance + kEps);
  return s;
}

void check_forward(LayerNorm& c) {
  const Sizes& n = c.n;
  Buffer y = n.dense_y_tokens();
  LayerNormModulateParams params{.element = n.element,
                                 .y_element = n.y_element,
                                 .row_element = n.row_element,
                                 .x = c.x.data(),
                                 .x_frame_stride = n.S * c.x.stride(),
                                 .x_token_stride = c.x.stride(),
                                 .shift = c.shift.data(),
                                 .shift_stride = c.shift.stride(),
                                 .scale = c.scale.data(),
                                 .scale_stride = c.scale.stride(),
                                 .scale_offset = c.offset,
                                 .y = y.data(),
                                 .mean = c.mean.data(),
                                 .rstd = c.rstd.data(),
                                 .frames = n.frames,
                                 .S = n.S,
                                 .D = n.D,
                                 .eps = kEps};
  if (c.residual != Residual::kNone) {
    params.update = c.update.data();
    params.update_frame_stride = n.S * c.update.stride();
    params.update_token_stride = c.update.stride();
    params.sum = c.sum.data();
  }
  if (c.residual == Residual::kGated) {
    params.gate = c.gate.data();
    params.gate_stride = c.gate.stride();
  }
  run_in_all_orders("layer_norm_modulate " + n.name(), {&y, &c.sum, &c.mean, &c.rstd}, [&] {
    return cuda::launch_layer_norm_modulate(params, nullptr);
  });
  if (c.residual != Residual::kNone) {
    expect_near("sum " + n.name(), c.sum, 2, [&](int64_t row, int64_t d) {
      const double gate = c.residual == Residual::kGated ? c.gate.at(row / n.S, d) : 1;
      const double product = gate * c.update.at(row, d);
      return Expected{c.x.at(row, d) + product, std::abs(c.x.at(row, d)) + 2 * std::abs(product)};
    });
  }
  const Buffer& x = c.residual == Residual::kNone ? c.x : c.sum;
  const double roundings = row_roundings(n.D) + 8;
  for (int64_t row = 0; row < n.tokens(); ++row) {
    const RowStatistics s = statistics_of(x, row);
    const double mean_error = roundings * 0x1p-24 * s.mean_size;
    ASSERT_NEAR(c.mean.at(row, 0), s.mean, mean_error) << n.name();
    for (int64_t d = 0; d < n.D; ++d) {
      const double scale = c.offset + c.scale.at(row / n.S, d), shift = c.shift.at(row / n.S, d);
      const double h = (x.at(row, d) - s.mean) * s.rstd;
      const double expected = h * scale + shift;
      // The mean's error enters h; those of the variance and the products are relative ones of h.
      const double size =
          std::abs(scale) * (s.rstd * s.mean_size + 2 * std::abs(h) + 1e-3) + std::abs(shift);
      const double allowed = roundings * 0x1p-24 * size;
      const double half_place =
          n.y_element == Element::kFloat ? 0 : 0x1p-8 * (std::abs(expected) + allowed);
      ASSERT_NEAR(y.at(row, d), expected, allowed + half_place)
          << n.name() << ", token " << row << ", channel " << d;
    }
  }
}

/// With the mean and rstd that forward wrote. A gradient of the sum comes in where there is one.
void check_backward(LayerNorm& c) {
  const Sizes& n = c.n;
  Buffer dx = n.dense_tokens(), dshift = n.dense_frames(), dscale = n.dense_frames();
  Buffer sums(Element::kFloat, 2 * n.frames * token_chunks(n.S), n.D);
  Buffer& x = c.residual == Residual::kNone ? c.x : c.sum;
  LayerNormModulateBackwardParams params{.element = n.element,
                                         .y_element = n.y_element,
                                         .row_element = n.row_element,
                                         .grad_y = c.grad.data(),
                                         .grad_y_frame_stride = n.S * c.grad.stride(),
                                         .grad_y_token_stride = c.grad.stride(),
                                         .x = x.data(),
                                         .x_frame_stride = n.S * x.stride(),
                                         .x_token_stride = x.stride(),
                                         .scale = c.scale.data(),
                                         .scale_stride = c.scale.stride(),
                                         .scale_offset = c.offset,
                                         .mean = c.mean.data(),
                                         .rstd = c.rstd.data(),
                                         .grad_x = dx.data(),
                                         .grad_shift = dshift.data(),
                                         .grad_scale = dscale.data(),
                                         .partial_sums = sums.floats(),
                                         .frames = n.frames,
                                         .S = n.S,
                                         .D = n.D};
  if (c.residual != Residual::kNone) {
    params.grad_sum = c.grad_sum.data();
    params.grad_sum_frame_stride = n.S * c.grad_sum.stride();
    params.grad_sum_token_stride = c.grad_sum.stride();
  }
  const auto more = [&](int64_t row, int64_t d) {
    return c.residual == Residual::kNone ? 0 : c.grad_sum.at(row, d);
  };
  run_in_all_orders("layer_norm_modulate backward " + n.name(),
                    {&dx, &dshift, &dscale, &sums},
                    [&] { return cuda::launch_layer_norm_modulate_backward(params, nullptr); });
  const auto g = [&](int64_t row, int64_t d) {
    return c.grad.at(row, d) * (c.offset + c.scale.at(row / n.S, d));
  };
  const auto h = [&](int64_t row, int64_t d) {
    return (x.at(row, d) - c.mean.at(row, 0)) * c.rstd.at(row, 0);
  };
  const auto h_size = [&](int64_t row, int64_t d) {
    return (std::abs(x.at(row, d)) + std::abs(c.mean.at(row, 0))) * c.rstd.at(row, 0);
  };
  const double D = static_cast<double>(n.D);
  for (int64_t row = 0; row < n.tokens(); ++row) {
    Expected mean_g{0, 0}, mean_gh{0, 0};
    for (int64_t d = 0; d < n.D; ++d) {
      const double factor = std::abs(c.grad.at(row, d)) * (1 + std::abs(c.scale.at(row / n.S, d)));
      mean_g = {mean_g.value + g(row, d) / D, mean_g.size + factor / D};
      mean_gh = {mean_gh.value + g(row, d) * h(row, d) / D,
                 mean_gh.size + factor * h_size(row, d) / D};
    }
    for (int64_t d = 0; d < n.D; ++d) {
      const double r = c.rstd.at(row, 0);
      const double factor = std::abs(c.grad.at(row, d)) * (1 + std::abs(c.scale.at(row / n.S, d)));
      const double expected =
          r * (g(row, d) - mean_g.value - h(row, d) * mean_gh.value) + more(row, d);
      const double size =
          r * (factor + mean_g.size + h_size(row, d) * mean_gh.size) + std::abs(more(row, d));
      const double allowed = (row_roundings(n.D) + 10) * 0x1p-24 * size;
      const double half_place =
          n.element == Element::kFloat ? 0 : 0x1p-8 * (std::abs(expected) + allowed);
      ASSERT_NEAR(dx.at(row, d), expected, allowed + half_place)
          << n.name() << ", token " << row << ", channel " << d;
    }
  }
  const double roundings = token_roundings(n.S) + 4;
  expect_near("dshift " + n.name(), dshift, roundings, [&](int64_t f, int64_t d) {
    Expected sum{0, 0};
    for (int64_t row = f * n.S; row < (f + 1) * n.S; ++row) {
      sum.value += c.grad.at(row, d);
      sum.size += std::abs(c.grad.at(row, d));
    }
    return sum;
  });
  expect_near("dscale " + n.name(), dscale, roundings, [&](int64_t f, int64_t d) {
    Expected sum{0, 0};
    for (int64_t row = f * n.S; row < (f + 1) * n.S; ++row) {
      sum.value += c.grad.at(row, d) * h(row, d);
      sum.size += std::abs(c.grad.at(row, d)) * h_size(row, d);
    }
    return sum;
  });
}

void check_gated_residual(const Sizes& n) {
  Buffer x = n.tokens_with_gaps(5), y = n.y_tokens_with_gaps(6), grad = n.tokens_with_gaps(7);
  Buffer gate = n.frame_rows(8);
  Buffer out = n.dense_tokens(), dy = n.dense_y_tokens(), dgate = n.dense_frames();
  Buffer sums(Element::kFloat, n.frames * token_chunks(n.S), n.D);
  run_in_all_orders("gated_residual " + n.name(), {&out}, [&] {
    return cuda::launch_gated_residual({.element = n.element,
                                        .y_element = n.y_element,
                                        .row_element = n.row_element,
                                        .x = x.data(),
                                        .x_frame_stride = n.S * x.stride(),
                                        .x_token_stride = x.stride(),
                                        .y = y.data(),
                                        .y_frame_stride = n.S * y.stride(),
                                        .y_token_stride = y.stride(),
                                        .gate = gate.data(),
                                        .gate_stride = gate.stride(),
                                        .out = out.data(),
                                        .frames = n.frames,
                                        .S = n.S,
                                        .D = n.D},
                                       nullptr);
  });
  run_in_all_orders("gated_residual backward " + n.name(), {&dy, &dgate, &sums}, [&] {
    return cuda::launch_gated_residual_backward({.element = n.element,
                                                 .y_element = n.y_element,
                                                 .row_element = n.row_element,
                                                 .grad = grad.data(),
                                                 .grad_frame_stride = n.S * grad.stride(),
                                                 .grad_token_stride = grad.stride(),
                                                 .y = y.data(),
                                                 .y_frame_stride = n.S * y.stride(),
                                                 .y_token_stride = y.stride(),
                                                 .gate = gate.data(),
                                                 .gate_stride = gate.stride(),
                                                 .grad_y = dy.data(),
                                                 .grad_gate = dgate.data(),
                                                 .partial_sums = sums.floats(),
                                                 .frames = n.frames,
                                                 .S = n.S,
                                                 .D = n.D},
                                                nullptr);
  });
  expect_near("gated_residual " + n.name(), out, 2, [&](int64_t row, int64_t d) {
    const double product = gate.at(row / n.S, d) * y.at(row, d);
    return Expected{x.at(row, d) + product, std::abs(x.at(row, d)) + 2 * std::abs(product)};
  });
  expect_near("dy " + n.name(), dy, 1, [&](int64_t row, int64_t d) {
    const double product = gate.at(row / n.S, d) * grad.at(row, d);
    return Expected{product, std::abs(product)};
  });
  expect_near("dgate " + n.name(), dgate, token_roundings(n.S) + 1, [&](int64_t f, int64_t d) {
    Expected sum{0, 0};
    for (int64_t row = f * n.S; row < (f + 1) * n.S; ++row) {
      sum.value += grad.at(row, d) * y.at(row, d);
      sum.size += std::abs(grad.at(row, d) * y.at(row, d));
    }
    return sum;
  });
}

class ModulateKernels : public testing::TestWithParam<std::array<Element, 3>> {
 public:
  void check(int64_t frames, int64_t S, int64_t D, int64_t gap, int64_t offset, int64_t y_gap = 0) {
    const auto [element, y_element, row_element] = GetParam();
    const Sizes sizes{element, y_element, row_element, frames, S, D, gap, offset, y_gap};
    for (const auto& [residual, of_scale] :
         {std::pair{Residual::kNone, 1.0f}, {Residual::kPlain, 1.0f}, {Residual::kGated, 0.0f}}) {
      LayerNorm norm{sizes, residual, of_scale};
      check_forward(norm);
      check_backward(norm);
    }
    check_gated_residual(sizes);
  }
};

TEST_P(ModulateKernels, FollowTheDefinitionInEveryOrder) {
  check(0, 7, 33, 0, 0);
  check(2, 0, 33, 0, 0);  // frames without tokens: gradients of their rows are zeros
  check(1, 1, 1, 0, 0);
  check(3, 9, 33, 5, 1);      // gaps, an odd offset, a second block of channels of one lane
  check(2, 131, 65, 1, 3);    // two chunks of tokens
  check(1, 3, 1536, 0, 0);    // the width of wan1.3b, in packs
  check(1, 131, 264, 0, 0);   // packs in two chunks of tokens
  check(2, 3, 264, 8, 0);     // packs with gaps, and lanes that have one more than others
  check(2, 3, 264, 4, 0);     // whole packs of channels at places where none may begin
  check(2, 3, 264, 8, 0, 4);  // where none may begin in y alone
  check(2, 3, 264, 0, 1);
  check(2, 3, 264, 0, 4);  // at 16 bytes in fp32, of which a pack has 32
}

INSTANTIATE_TEST_SUITE_P(Elements,
                         ModulateKernels,
                         testing::Values(std::array{kFloat, kFloat, kFloat},
                                         std::array{kBFloat16, kBFloat16, kFloat},
                                         std::array{kBFloat16, kBFloat16, kBFloat16},
                                         std::array{kFloat, kBFloat16, kFloat}));

}  // namespace
}  // namespace vmla::tests::host_cuda
