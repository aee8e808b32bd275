#include "analysis/study/pair_choice.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vmla::analysis {
namespace {

// One frame, a grid of one row and two columns: time and rows never differ, columns by −1, 0, 0, 1:
// E exp(iθδ) = (1 + cos θ) / 2.
TEST(PairChoice, PairsWhoseRotationNeverDiffersHaveNoEffect) {
  const auto effect = rotation_effect(model::bidirectional_plan(1), {1, 2}, 12);
  ASSERT_EQ(effect.size(), 6U);  // two an axis
  for (size_t pair = 0; pair < 4; ++pair) EXPECT_NEAR(effect[pair], 0.0, 1e-15);
  for (size_t i = 0; i < 2; ++i) {
    const double mean = (1 + std::cos(std::pow(10000.0, -0.5 * static_cast<double>(i)))) / 2;
    EXPECT_NEAR(effect[4 + i], 1 - mean * mean, 1e-12);
  }
}

}  // namespace
}  // namespace vmla::analysis
