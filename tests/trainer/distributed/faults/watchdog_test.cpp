// Real processes of which one is lost: each rank is a rank_worker.
#include "trainer/distributed/faults/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <map>
#include <string>
#include <vector>

#include "tests/trainer/distributed/processes.h"

namespace vmla::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// The number after a word in a rank's output; 0 where it is not.
double number_after(const std::string& word, const std::string& output) {
  const size_t at = output.find(word);
  return at == std::string::npos ? 0 : std::atof(output.c_str() + at + word.size());
}

/// Three ranks of which one, VICTIM, is lost. These tests wait more than they compute, so two jobs
/// run at a time, all of them before the first test.
class LostRank : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto run = [](const std::vector<Loss>& losses) {
      std::map<Loss, std::vector<EndedRank>> ends;
      for (const Loss& loss : losses) ends[loss] = lose(loss.first, loss.second);
      return ends;
    };
    auto others = std::async(
        std::launch::async,
        run,
        std::vector<Loss>{{"killed", 1}, {"stopped", 2}, {"computing", 1}, {"broken", 0}});
    ends_ = run({{"killed", 0}, {"stopped", 0}, {"hung", 1}, {"severed", 2}, {"broken", 2}});
    ends_.merge(others.get());
  }

  /// How the ranks ended; all but the lost one with status 3.
  static const std::vector<EndedRank>& ends_of(const std::string& how, int64_t victim) {
    const std::vector<EndedRank>& ends = ends_.at({how, victim});
    for (size_t rank = 0; rank < ends.size(); ++rank) {
      if (static_cast<int64_t>(rank) == victim) continue;
      EXPECT_EQ(ends[rank].status, 3) << "rank " << rank << ":\n" << ends[rank].output;
    }
    return ends;
  }

 private:
  using Loss = std::pair<std::string, int64_t>;  // how, which rank

  static std::vector<EndedRank> lose(const std::string& how, int64_t victim) {
    const bool stays = how != "killed" && how != "broken";
    return run_ranks({.work = how,
                      .size = 3,
                      .environment = {{"VICTIM", std::to_string(victim)}, {"TIMEOUT", "1.5"}},
                      .straggler = stays ? victim : -1});
  }

  static inline std::map<Loss, std::vector<EndedRank>> ends_;
};

TEST_F(LostRank, AKilledPeerIsNoticedWithinASecondAndNamedOnce) {
  const auto& ends = ends_of("killed", 1);
  EXPECT_EQ(ends[1].status, 128 + 9);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 1 on host "),
                                 HasSubstr("has not answered for"),
                                 HasSubstr("its last collective was all_gather #4"))));
  const double killed = number_after("fate ", ends[1].output);
  EXPECT_GT(killed, 0);
  for (const size_t rank : {0, 2}) {
    EXPECT_LT(number_after("noticed ", ends[rank].output) - killed, 1000) << ends[rank].output;
    EXPECT_GE(number_after("noticed ", ends[rank].output), killed) << ends[rank].output;
  }
}

TEST_F(LostRank, AKilledRank0TakesTheStoreWithIt) {
  const auto& ends = ends_of("killed", 0);
  EXPECT_EQ(ends[0].status, 128 + 9);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(AllOf(HasSubstr(": rank 0 on host "),
                                         HasSubstr(", which serves the store, is gone"))));
}

TEST_F(LostRank, AStoppedPeerIsNamedWithItsLastCollective) {
  const auto& ends = ends_of("stopped", 2);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 2 on host "),
                                 HasSubstr("has not answered for"),
                                 HasSubstr("; its last collective was all_gather #4"))));
}

TEST_F(LostRank, AStoppedRank0IsNamedAlthoughItServesTheStore) {
  const auto& ends = ends_of("stopped", 0);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 0 on host "),
                                 HasSubstr(", which serves the store, has not answered for"))));
}

TEST_F(LostRank, APeerThatComputesIsNamed) {
  const auto& ends = ends_of("computing", 1);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 1 on host "),
                                 HasSubstr("answers but has not come to it, in step 3"))));
}

TEST_F(LostRank, AHangWithoutATimeoutIsEndedAndSaidOnce) {
  const auto& ends = ends_of("hung", 1);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #7 of group device: rank 1 on host "),
                                 HasSubstr("has not answered for"))));
}

TEST_F(LostRank, AGroupThatFailsOnTheDeviceEndsARankThatIsNotTold) {
  const auto& ends = ends_of("severed", 2);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #7 of group device: rank 2 on host "),
                                 HasSubstr("has not answered for"))));
}

TEST_F(LostRank, AnErrorIsSaidByTheRankThatHasItAndByNoVictim) {
  for (const int64_t victim : {0, 2}) {
    const auto& ends = ends_of("broken", victim);
    EXPECT_EQ(ends[static_cast<size_t>(victim)].status, 1);
    EXPECT_THAT(said(ends), testing::ElementsAre(HasSubstr("the loss is not finite")));
  }
}

}  // namespace
}  // namespace vmla::distributed
