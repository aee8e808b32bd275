#include "model/sampling/flow_match_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "model/io/error.h"

namespace vmla::model {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

// Golden values of docs/algorithms.md 7, printed there with 2 to 4 decimals: half a unit of the
// last one.

TEST(FlowMatchSchedule, TrainingTable) {
  const auto sigmas = training_sigmas(5.0);
  ASSERT_EQ(sigmas.size(), 1000u);
  EXPECT_EQ(sigmas[0], 1.0);
  EXPECT_NEAR(1000 * sigmas[1], 999.80, 0.005);
  EXPECT_NEAR(1000 * sigmas[999], 4.980, 0.0005);
  EXPECT_NEAR(1000 * training_sigmas(8.0)[999], 7.944, 0.0005);
  EXPECT_TRUE(std::is_sorted(sigmas.rbegin(), sigmas.rend()));
  EXPECT_DOUBLE_EQ(shifted_sigma(0.3, 1.0), 0.3);
}

TEST(FlowMatchSchedule, QuantizedSigmaIsTheNearestEntry) {
  const auto sigmas = training_sigmas(5.0);
  EXPECT_EQ(quantized_sigma(1000.0, sigmas), 1.0);
  EXPECT_EQ(quantized_sigma(0.0, sigmas), sigmas[999]);  // docs/algorithms.md 6.3: 0 becomes 4.98
  EXPECT_EQ(quantized_sigma(1000 * sigmas[500], sigmas), sigmas[500]);
  const double between = 500 * (sigmas[40] + sigmas[41]);
  EXPECT_EQ(quantized_sigma(between + 1e-6, sigmas), sigmas[40]);
  EXPECT_EQ(quantized_sigma(between - 1e-6, sigmas), sigmas[41]);
}

TEST(FlowMatchSchedule, LossWeight) {
  const LossWeight weight(5.0);
  // The printed weights are those of the table's entry nearest to t.
  const auto sigmas = training_sigmas(5.0);
  const auto entry = [&](double t) { return weight(1000 * quantized_sigma(t, sigmas)); };
  EXPECT_NEAR(entry(1000), 0.0, 1e-12);
  EXPECT_NEAR(entry(937.5), 0.398, 5e-4);
  EXPECT_NEAR(entry(2500.0 / 3), 1.025, 5e-4);
  EXPECT_NEAR(entry(625), 1.914, 5e-4);
  EXPECT_NEAR(entry(500), 2.076, 5e-4);
  EXPECT_NEAR(entry(300), 1.671, 5e-4);
  EXPECT_NEAR(entry(100), 0.638, 5e-4);
  EXPECT_NEAR(entry(20), 0.126, 5e-4);
  EXPECT_NEAR(entry(4.98), 0.032, 5e-4);
  // Ours is continuous between them: the bell around 500 less the table's least value, scaled.
  const auto bell = [](double t) { return std::exp(-2.0 * std::pow((t - 500) / 1000, 2)); };
  EXPECT_NEAR((weight(100) - weight(1000)) / (weight(500) - weight(1000)),
              (bell(100) - bell(1000)) / (bell(500) - bell(1000)),
              1e-12);
  double sum = 0.0;
  for (const double sigma : training_sigmas(5.0)) sum += weight(1000 * sigma);
  EXPECT_NEAR(sum / 1000, 1.0, 1e-12);
}

TEST(FlowMatchSchedule, WarpedStepLists) {
  const double tolerance = 1e-9;
  EXPECT_THAT(warped_step_list({1000, 750, 500, 250}, 5.0),
              ElementsAre(1000.0,
                          DoubleNear(937.5, tolerance),
                          DoubleNear(2500.0 / 3, tolerance),
                          DoubleNear(625, tolerance)));
  EXPECT_THAT(warped_step_list({1000, 500, 0}, 5.0),
              ElementsAre(1000.0, DoubleNear(2500.0 / 3, tolerance)));
  EXPECT_THAT(warped_step_list({1000}, 5.0), ElementsAre(1000.0));
  EXPECT_THAT(warped_step_list({1000, 750, 500, 250}, 8.0),
              ElementsAre(1000.0,
                          DoubleNear(960, tolerance),
                          DoubleNear(888.89, 0.005),
                          DoubleNear(727.27, 0.005)));
}

TEST(FlowMatchSchedule, BadStepListsAreRefused) {
  const auto message = [](const std::vector<double>& list) {
    try {
      warped_step_list(list, 5.0);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message({}), HasSubstr("empty"));
  EXPECT_THAT(message({0}), HasSubstr("denoising_step_list"));
  EXPECT_THAT(message({1200}), HasSubstr("1200"));
  EXPECT_THAT(message({500, 750}), HasSubstr("750"));
  EXPECT_THAT(message({500, 500}), HasSubstr("500"));
  EXPECT_THAT(message({1000, 0, 500}), HasSubstr("found 0"));  // a zero ends a list
  EXPECT_THAT(message({1000, -1}), HasSubstr("-1"));
}

TEST(FlowMatchSchedule, GridsContainTheStudentsSteps) {
  const auto grid = timestep_grid(48, 5.0);
  ASSERT_EQ(grid.size(), 48u);
  const double tolerance = 0.005;
  EXPECT_EQ(grid[0], 1000.0);
  EXPECT_NEAR(grid[1], 995.76, tolerance);
  EXPECT_NEAR(grid[2], 991.38, tolerance);
  EXPECT_NEAR(grid[3], 986.84, tolerance);
  EXPECT_NEAR(grid[45], 250.0, tolerance);
  EXPECT_NEAR(grid[46], 178.57, tolerance);
  EXPECT_NEAR(grid[47], 96.154, 5e-4);
  const auto student = warped_step_list({1000, 750, 500, 250}, 5.0);
  for (size_t k = 0; k < 4; ++k) EXPECT_NEAR(grid[12 * k], student[k], 1e-9);
  // A 50-step grid does not contain them all.
  const auto fifty = timestep_grid(50, 5.0);
  EXPECT_TRUE(std::none_of(
      fifty.begin(), fifty.end(), [](double t) { return std::abs(t - 937.5) < 0.01; }));
}

TEST(FlowMatchSchedule, EvenStepsAreThePublishedLists) {
  EXPECT_EQ(even_step_list(1), (std::vector<double>{1000}));
  EXPECT_EQ(even_step_list(2), (std::vector<double>{1000, 500}));
  EXPECT_EQ(even_step_list(4), (std::vector<double>{1000, 750, 500, 250}));
}

TEST(FlowMatchSchedule, AStepListIsCalledByItsName) {
  try {
    warped_step_list({1000, 1000}, 5.0, "--denoising-steps");
    FAIL() << "a list that does not decrease was accepted";
  } catch (const UserError& error) {
    EXPECT_EQ(std::string(error.what()),
              "--denoising-steps: found 1000 after 1000: steps must decrease");
  }
}

}  // namespace
}  // namespace vmla::model
