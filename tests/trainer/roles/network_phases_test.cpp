#include "trainer/roles/network_phases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmla::trainer {
namespace {

using testing::ElementsAre;

/// The phases as lines; one that was a rollout is renamed.
struct Recorded : PhaseListener {
  void phase_begins(const std::string& role, NetworkWay way) override {
    const char* const ways[] = {"forward", "backward", "without gradient"};
    lines.push_back(role + " " + ways[static_cast<int>(way)]);
  }
  void phase_was_rollout() override { lines.back() += ", a rollout"; }
  std::vector<std::string> lines;
};

void back_propagate(NetworkPhases& phases, const std::string& player) {
  phases.backward_begins();
  phases.network_runs(player);  // computed again
  phases.backward_ended();
}

TEST(NetworkPhases, OfAGeneratorThatIsReplayedChunkByChunk) {
  Recorded recorded;
  NetworkPhases phases("generator", recorded);
  for (int micro_batch = 0; micro_batch < 2; ++micro_batch) {
    for (int unit = 0; unit < 3; ++unit) phases.network_runs("generator");
    phases.network_runs("fake_score");
    phases.network_runs("real_score");
    phases.network_runs("real_score");
    for (int chunk = 0; chunk < 2; ++chunk) {
      phases.network_runs("generator");
      back_propagate(phases, "generator");
    }
  }
  const std::vector<std::string> once = {"generator forward, a rollout",
                                         "fake_score without gradient",
                                         "real_score without gradient",
                                         "generator forward",
                                         "generator backward",
                                         "generator forward",
                                         "generator backward"};
  std::vector<std::string> twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  EXPECT_EQ(recorded.lines, twice);
}

// Straight through, the rollout's own passes are back-propagated.
TEST(NetworkPhases, OfAGeneratorThatKeepsItsRolloutsGraph) {
  Recorded recorded;
  NetworkPhases phases("generator", recorded);
  phases.network_runs("generator");
  phases.network_runs("fake_score");
  back_propagate(phases, "generator");
  EXPECT_THAT(
      recorded.lines,
      ElementsAre(
          "generator forward, a rollout", "fake_score without gradient", "generator backward"));
}

TEST(NetworkPhases, OfACriticWithTwoWindows) {
  Recorded recorded;
  NetworkPhases phases("fake_score", recorded);
  phases.network_runs("generator");
  for (int window = 0; window < 2; ++window) {
    phases.network_runs("fake_score");
    back_propagate(phases, "fake_score");
  }
  EXPECT_THAT(recorded.lines,
              ElementsAre("generator without gradient",
                          "fake_score forward",
                          "fake_score backward",
                          "fake_score forward",
                          "fake_score backward"));
}

}  // namespace
}  // namespace vmla::trainer
