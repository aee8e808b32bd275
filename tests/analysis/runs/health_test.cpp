#include "analysis/runs/health.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace vmla::analysis {
namespace {

/// Positive noise about 1, as a loss over random timesteps has it: log-normal, sigma 0.4.
class Noise {
 public:
  double next() { return std::exp(0.4 * normal_(engine_)); }

 private:
  std::mt19937 engine_{11};
  std::normal_distribution<double> normal_;
};

/// The figures of a DMD step: the generator's only where it was updated.
NamedValues dmd_step(int64_t step, double generator, double critic, double gradient, Noise& noise) {
  NamedValues values = {{"loss_fake_score", critic * noise.next()},
                        {"grad_norm_fake_score", noise.next()},
                        {"lr", 1e-4}};
  if (step % 5 == 0) {
    values.emplace_back("loss", generator * noise.next());
    values.emplace_back("grad_norm", noise.next());
    values.emplace_back("dmd_gradient_norm", gradient * noise.next());
  }
  return values;
}

std::vector<std::string> conditions_of(const std::vector<HealthAlarm>& alarms) {
  std::vector<std::string> names;
  for (const HealthAlarm& alarm : alarms) names.push_back(alarm.condition);
  return names;
}

/// Runs `steps` steps whose levels are functions of the step; returns every alarm.
template <class Generator, class Critic, class Gradient>
std::vector<HealthAlarm> run(int64_t steps, Generator generator, Critic critic, Gradient gradient) {
  HealthMonitor monitor;
  Noise noise;
  std::vector<HealthAlarm> all;
  for (int64_t step = 1; step <= steps; ++step) {
    const double t = static_cast<double>(step);
    for (auto& alarm :
         monitor.observe(step, dmd_step(step, generator(t), critic(t), gradient(t), noise))) {
      all.push_back(std::move(alarm));
    }
  }
  return all;
}

const auto kSteady = [](double) { return 1.0; };

TEST(Health, ANoisyHealthyRunIsQuiet) {
  EXPECT_TRUE(run(4000, kSteady, kSteady, kSteady).empty());
  // Losses that fall as they should, the critic's from far above.
  const auto falling = [](double t) { return 0.1 + std::exp(-t / 200); };
  EXPECT_TRUE(run(4000, falling, falling, falling).empty());
}

TEST(Health, ACriticThatRisesWhileTheGeneratorFalls) {
  const auto rising = [](double t) { return t < 1000 ? 1.0 : std::min(1.6, 1 + (t - 1000) / 500); };
  const auto falling = [](double t) { return t < 1000 ? 1.0 : std::exp(-(t - 1000) / 300); };
  EXPECT_EQ(conditions_of(run(2000, falling, rising, kSteady)),
            std::vector<std::string>{"critic_diverges"});
  EXPECT_TRUE(run(2000, kSteady, rising, kSteady).empty());
  EXPECT_TRUE(run(2000, falling, kSteady, kSteady).empty());
}

TEST(Health, ACriticThatLags) {
  const auto slow = [](double t) { return t < 1000 ? 1.0 : 1 + (t - 1000) / 1000; };
  const auto alarms = run(6000, kSteady, slow, kSteady);
  ASSERT_EQ(conditions_of(alarms), std::vector<std::string>{"critic_lags"});
  EXPECT_NE(alarms[0].message.find("dfake_gen_update_ratio"), std::string::npos);
  EXPECT_EQ(alarms[0].message.find('\n'), std::string::npos);
}

TEST(Health, DmdGradientDiesOrExplodes) {
  const auto dying = [](double t) { return t < 1000 ? 1.0 : 1e-4; };
  EXPECT_EQ(conditions_of(run(2000, kSteady, kSteady, dying)),
            std::vector<std::string>{"dmd_gradient_collapse"});
  const auto exploding = [](double t) { return t < 1000 ? 1.0 : 200.0; };
  EXPECT_EQ(conditions_of(run(2000, kSteady, kSteady, exploding)),
            std::vector<std::string>{"dmd_gradient_explosion"});
  // One outlier is none.
  const auto outlier = [](double t) { return t == 1000 ? 200.0 : 1.0; };
  EXPECT_TRUE(run(2000, kSteady, kSteady, outlier).empty());
}

TEST(Health, GradientSpikesAreSaidOnceForEachPlayer) {
  HealthMonitor monitor;
  std::vector<HealthAlarm> alarms;
  const auto feed = [&](int64_t step, double generator, double critic) {
    for (auto& alarm :
         monitor.observe(step, {{"grad_norm", generator}, {"grad_norm_fake_score", critic}})) {
      alarms.push_back(std::move(alarm));
    }
  };
  for (int64_t step = 1; step <= 40; ++step) feed(step, 2, 3);
  feed(41, 19, 3);  // below 10 times the median
  EXPECT_TRUE(alarms.empty());
  feed(42, 21, 3);
  feed(43, 210, 31);
  ASSERT_EQ(alarms.size(), 2u);
  EXPECT_NE(alarms[0].message.find("grad_norm jumped to 21 at step 42"), std::string::npos);
  EXPECT_NE(alarms[1].message.find("grad_norm_fake_score jumped to 31"), std::string::npos);
  // A large start is no spike: nothing is judged during the warm-up.
  HealthMonitor fresh;
  for (int64_t step = 1; step <= 32; ++step) {
    EXPECT_TRUE(fresh.observe(step, {{"grad_norm", step == 20 ? 1e4 : 1.0}}).empty());
  }
}

TEST(Health, LossesThatStandStillOrNearTheEndOfFp32) {
  HealthMonitor monitor;
  std::vector<HealthAlarm> alarms;
  for (int64_t step = 1; step <= 70; ++step) {
    for (auto& alarm : monitor.observe(step, {{"loss", 0.25}})) alarms.push_back(alarm);
  }
  EXPECT_EQ(conditions_of(alarms), std::vector<std::string>{"loss_flat"});
  EXPECT_EQ(conditions_of(monitor.observe(71, {{"loss", 2e15}})),
            std::vector<std::string>{"loss_near_overflow"});
  EXPECT_TRUE(monitor.observe(72, {{"loss", std::numeric_limits<double>::quiet_NaN()}}).empty());
}

TEST(Health, DerivedFigures) {
  HealthMonitor monitor;
  EXPECT_TRUE(monitor.figures().empty());
  monitor.observe(1, {{"loss", 2.0}});
  EXPECT_TRUE(monitor.figures().empty());  // no critic: another objective
  for (int64_t step = 2; step <= 40; ++step) {
    monitor.observe(step, {{"loss", 2.0}, {"loss_fake_score", 0.5}});
  }
  const NamedValues figures = monitor.figures();
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].first, "fake_score_loss_ratio");
  EXPECT_NEAR(figures[0].second, 0.25, 1e-12);  // constants, smoothed without bias
  EXPECT_EQ(figures[1].first, "critic_lag");
  EXPECT_NEAR(figures[1].second, 1.0, 1e-12);
}

}  // namespace
}  // namespace vmla::analysis
