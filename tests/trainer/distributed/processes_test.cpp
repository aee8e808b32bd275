// The engines between real processes: each rank is a rank_worker.
#include "tests/trainer/distributed/processes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <map>

#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// What the ranks said, one line each.
std::vector<std::string> said(const std::vector<EndedRank>& ends) {
  std::vector<std::string> lines;
  for (const EndedRank& end : ends) {
    const size_t at = end.output.find("said: ");
    if (at != std::string::npos)
      lines.push_back(end.output.substr(at + 6, end.output.find('\n', at) - at - 6));
  }
  return lines;
}

void expect_success(const std::vector<EndedRank>& ends) {
  for (size_t rank = 0; rank < ends.size(); ++rank)
    EXPECT_EQ(ends[rank].status, 0) << "rank " << rank << ":\n" << ends[rank].output;
}

/// The number after a word in a rank's output; 0 where it is not.
double number_after(const std::string& word, const std::string& output) {
  const size_t at = output.find(word);
  return at == std::string::npos ? 0 : std::atof(output.c_str() + at + word.size());
}

TEST(GlooCommunicator, EveryCollectiveGivesWhatThreadsGiveBetweenTwoProcesses) {
  expect_success(run_ranks({.work = "collectives", .size = 2}));
}

TEST(GlooCommunicator, EveryCollectiveGivesWhatThreadsGiveBetweenFourProcesses) {
  expect_success(run_ranks({.work = "collectives", .size = 4}));
}

TEST(GlooCommunicator, ChecksOfSizesChangeNothingAndFindTheRankThatDiffers) {
  const std::map<std::string, std::string> checked{{"VMLA_CHECK_COLLECTIVES", "1"}};
  expect_success(run_ranks({.work = "collectives", .size = 2, .environment = checked}));
  const auto ends = run_ranks({.work = "other sizes", .size = 3, .environment = checked});
  EXPECT_THAT(said(ends),
              testing::ElementsAre(AllOf(HasSubstr("collective #1 of group world: rank 1 came with "
                                                   "all_reduce of 7 Float"),
                                         HasSubstr("rank 0 with all_reduce of 5 Float"))));
}

TEST(Rendezvous, WithoutAnInheritedSocketRank0ListensItself) {
  expect_success(run_ranks({.work = "join", .size = 3, .inherited_socket = false}));
}

TEST(Rendezvous, ATakenPortIsNamed) {
  const int socket = listen_on(0);
  const std::string port = std::to_string(port_of(socket));
  const auto ends = run_ranks({.work = "join",
                               .size = 1,
                               .environment = {{"MASTER_PORT", port}},
                               .inherited_socket = false});
  EXPECT_EQ(ends[0].status, 2);
  EXPECT_THAT(said(ends), testing::ElementsAre(HasSubstr("MASTER_PORT " + port + " is taken")));
}

TEST(Rendezvous, ADescriptorThatIsNoSocketOnThePortIsRefused) {
  const auto ends = run_ranks({.work = "join",
                               .size = 1,
                               .environment = {{"VMLA_STORE_LISTEN_FD", "1"}},
                               .inherited_socket = false});
  EXPECT_EQ(ends[0].status, 2);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(HasSubstr("VMLA_STORE_LISTEN_FD is 1, which is no")));
}

TEST(Rendezvous, AnAddressThatDoesNotResolveIsNamed) {
  const auto ends = run_ranks(
      {.work = "join", .size = 1, .environment = {{"MASTER_ADDR", "no-such-host.invalid"}}});
  EXPECT_EQ(ends[0].status, 2);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(
                  StartsWith("MASTER_ADDR 'no-such-host.invalid' does not resolve on host")));
}

TEST(Rendezvous, AStoreThatNobodyServesIsGivenUpAfterTheTimeout) {
  const auto ends = run_ranks({.work = "join",
                               .size = 1,
                               .environment = {{"RANK", "1"},
                                               {"LOCAL_RANK", "1"},
                                               {"WORLD_SIZE", "2"},
                                               {"LOCAL_WORLD_SIZE", "2"},
                                               {"MASTER_PORT", std::to_string(free_port())},
                                               {"JOIN_TIMEOUT", "1.5"}}});
  EXPECT_EQ(ends[0].status, 2);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(HasSubstr("nobody serves the job's store at 127.0.0.1:")));
  EXPECT_THAT(ends[0].output, testing::Not(HasSubstr("[W"))) << "c10d's own warnings";
}

TEST(Rendezvous, ARankThatDoesNotComeIsNamed) {
  const auto ends = run_ranks(
      {.work = "join",
       .size = 2,
       .environment = {{"WORLD_SIZE", "3"}, {"LOCAL_WORLD_SIZE", "3"}, {"JOIN_TIMEOUT", "2"}}});
  for (const EndedRank& end : ends) EXPECT_EQ(end.status, 2);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(
                  HasSubstr("rank 2 of 3 did not come within 2 s to compare its world size")));
}

TEST(Rendezvous, AnotherWorldSizeOnARankIsNamed) {
  const auto ends = run_ranks({.work = "join",
                               .size = 2,
                               .of_rank = {{1, {{"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "4"}}}}});
  for (const EndedRank& end : ends) EXPECT_EQ(end.status, 2);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(
                  AllOf(HasSubstr("rank 1 on host "),
                        HasSubstr("has another world size than rank 0: '4', rank 0 has '2'"))));
}

TEST(Rendezvous, ARankOfAnotherJobOnThePortIsNamed) {
  const auto ends = run_ranks({.work = "join",
                               .size = 2,
                               .environment = {{"JOIN_TIMEOUT", "2"}},
                               .of_rank = {{1, {{"TORCHELASTIC_RUN_ID", "other"}}}}});
  EXPECT_EQ(ends[1].status, 2);
  EXPECT_THAT(ends[1].output, HasSubstr("belongs to another job ('test'; this one is 'other')"));
}

TEST(Rendezvous, AnotherConfigurationIsSaidOnceWithTheLineThatDiffers) {
  const auto ends = run_ranks({.work = "same configuration",
                               .size = 3,
                               .environment = {{"CONFIGURATION", "seed: 1\nsteps: 20\n"}},
                               .of_rank = {{2, {{"CONFIGURATION", "seed: 1\nsteps: 40\n"}}}}});
  for (const EndedRank& end : ends) EXPECT_EQ(end.status, 2) << end.output;
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(HasSubstr("rank 2 on host "),
                                 HasSubstr("has another configuration than rank 0: line 2 is "
                                           "'steps: 40', rank 0 has 'steps: 20'"))));
}

TEST(Rendezvous, AnotherProgramVersionIsSaidOnceAndBeforeTheConfiguration) {
  const auto ends =
      run_ranks({.work = "same configuration",
                 .size = 3,
                 .of_rank = {{1, {{"VERSION", "1.1"}, {"CONFIGURATION", "seed: 1\n"}}}}});
  for (const EndedRank& end : ends) EXPECT_EQ(end.status, 2) << end.output;
  EXPECT_THAT(said(ends),
              testing::ElementsAre(
                  AllOf(HasSubstr("rank 1 on host "),
                        HasSubstr("has another program version than rank 0: '1.1', rank 0 has "
                                  "'1.0'; start all ranks alike"))));
}

/// Three ranks of which one, VICTIM, is lost. These tests wait more than they compute, so two jobs
/// run at a time, all of them before the first test.
class Watchdog : public testing::Test {
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
    ends_ = run({{"killed", 0}, {"stopped", 0}, {"hung", 1}, {"broken", 2}});
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

TEST_F(Watchdog, AKilledPeerIsNoticedWithinASecondAndNamedOnce) {
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

TEST_F(Watchdog, AKilledRank0TakesTheStoreWithIt) {
  const auto& ends = ends_of("killed", 0);
  EXPECT_EQ(ends[0].status, 128 + 9);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(AllOf(HasSubstr(": rank 0 on host "),
                                         HasSubstr(", which serves the store, is gone"))));
}

TEST_F(Watchdog, AStoppedPeerIsNamedWithItsLastCollective) {
  const auto& ends = ends_of("stopped", 2);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 2 on host "),
                                 HasSubstr("has not answered for"),
                                 HasSubstr("; its last collective was all_gather #4"))));
}

TEST_F(Watchdog, AStoppedRank0IsNamedAlthoughItServesTheStore) {
  const auto& ends = ends_of("stopped", 0);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 0 on host "),
                                 HasSubstr(", which serves the store, has not answered for"))));
}

TEST_F(Watchdog, APeerThatComputesIsNamed) {
  const auto& ends = ends_of("computing", 1);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #5 of group world: rank 1 on host "),
                                 HasSubstr("answers but has not come to it, in step 3"))));
}

TEST_F(Watchdog, AHangWithoutATimeoutIsEndedAndSaidOnce) {
  const auto& ends = ends_of("hung", 1);
  EXPECT_THAT(
      said(ends),
      testing::ElementsAre(AllOf(StartsWith("all_reduce #7 of group device: rank 1 on host "),
                                 HasSubstr("has not answered for"))));
}

TEST_F(Watchdog, AnErrorIsSaidByTheRankThatHasItAndByNoVictim) {
  for (const int64_t victim : {0, 2}) {
    const auto& ends = ends_of("broken", victim);
    EXPECT_EQ(ends[static_cast<size_t>(victim)].status, 1);
    EXPECT_THAT(said(ends), testing::ElementsAre(HasSubstr("the loss is not finite")));
  }
}

TEST(Rendezvous, InALaunchersOwnStoreAllRanksAreClientsAndRank0IsLostLikeAnyOther) {
  const int socket = listen_on(0);
  const int64_t port = port_of(socket);
  const auto store = Store::serve({"127.0.0.1", port}, socket, "", 10);
  const auto ends = run_ranks({.work = "killed",
                               .size = 3,
                               .environment = {{"MASTER_PORT", std::to_string(port)},
                                               {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                               {"VICTIM", "0"}},
                               .inherited_socket = false});
  EXPECT_EQ(ends[1].status, 3);
  EXPECT_EQ(ends[2].status, 3);
  EXPECT_THAT(said(ends),
              testing::ElementsAre(
                  AllOf(HasSubstr(": rank 0 on host "), HasSubstr(" has not answered for "))));
}

}  // namespace
}  // namespace vmla::distributed
