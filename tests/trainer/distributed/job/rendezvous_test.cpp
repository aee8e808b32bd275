// Real processes that meet, or do not: each rank is a rank_worker.
#include "trainer/distributed/job/rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/trainer/distributed/processes.h"
#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/store.h"

namespace vmla::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

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
