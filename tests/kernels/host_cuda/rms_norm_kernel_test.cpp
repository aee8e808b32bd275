#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/launch.h"
#include "tests/kernels/host_cuda/buffer.h"

namespace vmla::tests::host_cuda {
namespace {

using namespace kernels;

constexpr double kEps = 1e-6;

/// Of one case; the loops below are the definition, in fp64.
struct RmsNormCase {
  Element element, weight_element;
  int64_t rows, D;
  int64_t gap, offset;

  Buffer x{element, rows, D, gap, offset};
  Buffer weight{weight_element, 1, D, 0, offset};
  Buffer grad{element, rows, D, 2 * gap, offset};
  Buffer rstd{Element::kFloat, rows, 1};

  std::string name() const {
    return std::to_string(rows) + "x" + std::to_string(D) + ", gap " + std::to_string(gap) +
           ", elements " + std::to_string(static_cast<int>(element)) +
           std::to_string(static_cast<int>(weight_element));
  }
  double exact_rstd(int64_t row) const {
    double squares = 0;
    for (int64_t d = 0; d < D; ++d) squares += x.at(row, d) * x.at(row, d);
    return 1 / std::sqrt(squares / static_cast<double>(D) + kEps);
  }
};

RmsNormRows rows_of(RmsNormCase& c, Buffer& y) {
  return {.x = c.x.data(),
          .x_stride = c.x.stride(),
          .weight = c.weight.data(),
          .y = y.data(),
          .rstd = c.rstd.data(),
          .rows = c.rows,
          .D = c.D};
}

void expect_normed(const RmsNormCase& c, const Buffer& y) {
  // Half of the sum's relative error in the root; then a quotient, a root, a sum and two products.
  const double roundings = row_roundings(c.D) / 2 + 6;
  expect_near("rms_norm rstd " + c.name(), c.rstd, roundings, [&](int64_t row, int64_t) {
    return Expected{c.exact_rstd(row), c.exact_rstd(row)};
  });
  expect_near("rms_norm " + c.name(), y, roundings, [&](int64_t row, int64_t d) {
    const double value = c.x.at(row, d) * c.exact_rstd(row) * c.weight.at(0, d);
    return Expected{value, std::abs(value)};
  });
}

/// By itself, and in front of and behind rows of another width.
void check_forward(RmsNormCase& c) {
  RmsNormCase other{c.element, c.weight_element, 10, 48, c.gap, 0};
  other.x.draw(4);
  other.weight.draw(5);
  Buffer y(c.element, c.rows, c.D, 0, c.offset), other_y(c.element, other.rows, other.D);
  const RmsNormRows given = rows_of(c, y), others = rows_of(other, other_y);
  for (const auto& [first, second] :
       {std::pair{given, RmsNormRows{}}, {given, others}, {others, given}}) {
    const RmsNormParams params{.element = c.element,
                               .weight_element = c.weight_element,
                               .first = first,
                               .second = second,
                               .eps = kEps};
    run_in_all_orders("rms_norm " + c.name(), {&y, &c.rstd, &other_y, &other.rstd}, [&] {
      return cuda::launch_rms_norm(params, nullptr);
    });
    expect_normed(c, y);
    if (second.rows > 0 && first.rows > 0) expect_normed(other, other_y);
  }
}

/// With the rstd that forward wrote.
void check_backward(RmsNormCase& c) {
  Buffer dx(c.element, c.rows, c.D, 0, c.offset);
  Buffer dw(c.weight_element, 1, c.D, 0, c.offset);
  Buffer sums(Element::kFloat, token_chunks(c.rows), c.D);
  const RmsNormBackwardParams params{.element = c.element,
                                     .weight_element = c.weight_element,
                                     .grad_y = c.grad.data(),
                                     .grad_y_stride = c.grad.stride(),
                                     .x = c.x.data(),
                                     .x_stride = c.x.stride(),
                                     .weight = c.weight.data(),
                                     .rstd = c.rstd.data(),
                                     .grad_x = dx.data(),
                                     .grad_weight = dw.data(),
                                     .partial_sums = sums.data(),
                                     .rows = c.rows,
                                     .D = c.D};
  run_in_all_orders("rms_norm backward " + c.name(), {&dx, &dw, &sums}, [&] {
    return cuda::launch_rms_norm_backward(params, nullptr);
  });
  const auto g = [&](int64_t row, int64_t d) { return c.grad.at(row, d) * c.weight.at(0, d); };
  const auto h = [&](int64_t row, int64_t d) { return c.x.at(row, d) * c.rstd.at(row, 0); };
  for (int64_t row = 0; row < c.rows; ++row) {
    double mean = 0, mean_size = 0;
    for (int64_t d = 0; d < c.D; ++d) {
      mean += g(row, d) * h(row, d) / static_cast<double>(c.D);
      mean_size += std::abs(g(row, d) * h(row, d)) / static_cast<double>(c.D);
    }
    for (int64_t d = 0; d < c.D; ++d) {
      const double r = c.rstd.at(row, 0);
      const double expected = r * (g(row, d) - h(row, d) * mean);
      const double size = r * (std::abs(g(row, d)) + std::abs(h(row, d)) * mean_size);
      const double allowed = (row_roundings(c.D) + 8) * 0x1p-24 * size;
      const double half_place =
          c.element == Element::kFloat ? 0 : 0x1p-8 * (std::abs(expected) + allowed);
      ASSERT_NEAR(dx.at(row, d), expected, allowed + half_place)
          << "rms_norm dx " << c.name() << ", row " << row << ", channel " << d;
    }
  }
  expect_near("rms_norm dw " + c.name(), dw, token_roundings(c.rows) + 3, [&](int64_t, int64_t d) {
    Expected sum{0, 0};
    for (int64_t row = 0; row < c.rows; ++row) {
      sum.value += c.grad.at(row, d) * h(row, d);
      sum.size += std::abs(c.grad.at(row, d) * h(row, d));
    }
    return sum;
  });
}

void check(
    Element element, Element weight_element, int64_t rows, int64_t D, int64_t gap, int64_t offset) {
  RmsNormCase c{element, weight_element, rows, D, gap, offset};
  c.x.draw(1);
  c.weight.draw(2);
  c.grad.draw(3);
  check_forward(c);
  check_backward(c);
}

class RmsNormKernel : public testing::TestWithParam<std::pair<Element, Element>> {};

TEST_P(RmsNormKernel, FollowsTheDefinitionInEveryOrder) {
  const auto [element, weight] = GetParam();
  check(element, weight, 0, 33, 0, 0);  // no rows: gradients of the weight are zeros
  check(element, weight, 1, 1, 0, 0);
  check(element, weight, 9, 33, 5, 1);     // a gap, an odd offset, a second block of rows
  check(element, weight, 131, 127, 1, 3);  // two chunks of rows
  check(element, weight, 5, 1536, 0, 0);   // the width of wan1.3b, in packs
  check(element, weight, 131, 264, 0, 0);  // packs in two chunks of rows
  check(element, weight, 3, 264, 8, 0);    // packs with gaps, one more in some lanes
  check(element, weight, 3, 264, 4, 0);    // whole packs of channels where none may begin
  check(element, weight, 3, 264, 0, 1);
  check(element, weight, 3, 264, 0, 4);  // at 16 bytes in fp32, of which a pack has 32
}

INSTANTIATE_TEST_SUITE_P(Elements,
                         RmsNormKernel,
                         testing::Values(std::pair{Element::kFloat, Element::kFloat},
                                         std::pair{Element::kBFloat16, Element::kFloat},
                                         std::pair{Element::kBFloat16, Element::kBFloat16}));

TEST(RmsNormKernelRefuses, PairsOfElementsThatNoKernelTakes) {
  constexpr int kInvalidValue = 1;  // cudaErrorInvalidValue
  RmsNormParams params{};
  params.element = Element::kFloat;
  params.weight_element = Element::kBFloat16;
  EXPECT_EQ(cuda::launch_rms_norm(params, nullptr), kInvalidValue);
  params.element = params.weight_element = Element::kDouble;
  EXPECT_EQ(cuda::launch_rms_norm(params, nullptr), kInvalidValue);
}

}  // namespace
}  // namespace vmla::tests::host_cuda
