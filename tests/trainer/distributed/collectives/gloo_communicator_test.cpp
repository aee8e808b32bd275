// Gloo between real processes: each rank is a rank_worker.
#include "trainer/distributed/collectives/gloo_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/trainer/distributed/processes.h"

namespace vmla::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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

}  // namespace
}  // namespace vmla::distributed
