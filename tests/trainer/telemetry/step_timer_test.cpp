#include "trainer/telemetry/step_timer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace vmla::trainer {
namespace {

void wait() {
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
}
constexpr double kWaited = 0.002;

TEST(StepTimer, APhaseThatComesAgainAddsUpAndTheLastOneCounts) {
  StepTimer timer;
  timer.start();
  wait();  // before any phase: of the step alone
  for (const char* phase : {"data", "forward", "data"}) {
    timer.begin(phase);
    wait();
  }
  const double step = timer.stop();
  ASSERT_EQ(timer.phases().size(), 2u);
  const double data = timer.phases().at("data"), forward = timer.phases().at("forward");
  EXPECT_GE(data, 2 * kWaited);
  EXPECT_GE(forward, kWaited);
  EXPECT_GE(step, data + forward + kWaited);
}

TEST(StepTimer, APhaseMayTurnOutToBeAnotherOne) {
  StepTimer timer;
  timer.start();
  timer.begin("forward");
  wait();
  timer.begin("forward");
  wait();
  timer.rename("rollout");
  timer.begin("scores");
  timer.stop();
  ASSERT_EQ(timer.phases().size(), 3u);
  EXPECT_GE(timer.phases().at("forward"), kWaited);
  EXPECT_GE(timer.phases().at("rollout"), kWaited);
}

TEST(StepTimer, AStepWithoutPhasesHasNone) {
  StepTimer timer;
  timer.start();
  timer.begin("data");
  timer.stop();
  timer.start();
  EXPECT_GE(timer.stop(), 0);
  EXPECT_TRUE(timer.phases().empty());
}

}  // namespace
}  // namespace vmla::trainer
