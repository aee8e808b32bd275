#include <gtest/gtest.h>

#include "trainer/telemetry/gemm_rate.h"

namespace vmla::trainer {
namespace {

// The FLOP/s of all ranks are a share of what all their devices can do, not of what one can.
TEST(FlopsUtilisation, CountsEveryRanksDevice) {
  const double rate = gemm_tflops("cpu");
  ASSERT_GT(rate, 0);
  EXPECT_DOUBLE_EQ(flops_utilisation(rate, 1, "cpu"), 1.0);
  EXPECT_DOUBLE_EQ(flops_utilisation(4 * rate, 4, "cpu"), 1.0);
  EXPECT_DOUBLE_EQ(flops_utilisation(rate, 8, "cpu"), 0.125);
}

}  // namespace
}  // namespace vmla::trainer
