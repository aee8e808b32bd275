#include "analysis/report/report_plots.h"

#include <gtest/gtest.h>

#include <cmath>

namespace vmla::analysis {
namespace {

TEST(ReportPlots, SmoothWithoutBias) {
  const std::vector<double> constant = smoothed(std::vector<double>(50, 2.0), 10);
  EXPECT_NEAR(constant.front(), 2.0, 1e-12);
  EXPECT_NEAR(constant.back(), 2.0, 1e-12);
  // Weights 1 and 1/e: a step from 0 to 1 is at 1/(1 + 1/e) after one point.
  EXPECT_NEAR(smoothed({0, 1}, 1)[1], 1 / (1 + std::exp(-1.0)), 1e-12);
}

}  // namespace
}  // namespace vmla::analysis
