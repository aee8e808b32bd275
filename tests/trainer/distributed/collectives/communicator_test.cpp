#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/distributed/collectives/host_staged_communicator.h"
#include "trainer/distributed/collectives/thread_communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace vmla::distributed {
namespace {

using testing::HasSubstr;

at::Tensor numbers(std::initializer_list<double> values) {
  return at::tensor(at::ArrayRef<double>(values.begin(), values.size()), at::kFloat);
}

TEST(ThreadCommunicator, EveryOperationGivesWhatItsNameSays) {
  on_threads(3, [](Communicator& group) {
    const auto rank = static_cast<double>(group.rank());
    at::Tensor sum = numbers({1 + rank, 10});
    group.all_reduce(sum).wait();
    EXPECT_TRUE(at::equal(sum, numbers({6, 30})));

    at::Tensor greatest = numbers({rank, -rank});
    group.all_reduce(greatest, ReduceOp::kMax).wait();
    EXPECT_TRUE(at::equal(greatest, numbers({2, 0})));

    at::Tensor whole = at::empty({6}, at::kFloat);
    group.all_gather(whole, numbers({rank, rank + 0.5})).wait();
    EXPECT_TRUE(at::equal(whole, numbers({0, 0.5, 1, 1.5, 2, 2.5})));

    at::Tensor part = at::empty({2}, at::kFloat);
    group.reduce_scatter(part, at::arange(6, at::kFloat) * (rank + 1)).wait();
    EXPECT_TRUE(at::equal(part, 6 * numbers({2 * rank, 2 * rank + 1})));

    at::Tensor received = at::empty({3, 1}, at::kFloat);
    group.all_to_all(received, (10 * rank + at::arange(3, at::kFloat)).view({3, 1})).wait();
    EXPECT_TRUE(at::equal(received.view(-1), numbers({rank, 10 + rank, 20 + rank})));

    at::Tensor told = numbers({rank});
    group.broadcast(told, 1).wait();
    EXPECT_TRUE(at::equal(told, numbers({1})));
    group.barrier();
  });
}

TEST(Communicator, CountsWhatARankMustSend) {
  on_threads(4, [](Communicator& group) {
    const at::Tensor whole = at::zeros({16}, at::kFloat), part = at::zeros({4}, at::kFloat);
    group.all_gather(whole, part).wait();
    group.reduce_scatter(part, whole).wait();
    group.all_reduce(whole).wait();
    const CommCounters& counters = group.counters();
    EXPECT_EQ(counters.of(Collective::kAllGather).bytes, 3 * 16);
    EXPECT_EQ(counters.of(Collective::kReduceScatter).bytes, 3 * 16);
    EXPECT_EQ(counters.of(Collective::kAllReduce).bytes, 2 * 3 * 16);
    EXPECT_EQ(counters.calls(), 3);
    EXPECT_GE(counters.busy_seconds, counters.exposed_seconds);
  });
}

TEST(DryCommunicator, CountsTensorsThatHaveASizeAndNoValues) {
  const auto group = dry_communicator("world", 5, 8);
  const at::Tensor whole = at::empty({8 * 1000}, at::TensorOptions(at::kMeta).dtype(at::kBFloat16));
  const at::Tensor part = whole.narrow(0, 0, 1000);
  group->all_gather(whole, part).wait();
  group->reduce_scatter(part, whole).wait();
  group->all_to_all(whole.view({8, -1}), whole.view({8, -1})).wait();
  group->broadcast(part, 7).wait();
  group->barrier();
  EXPECT_EQ(group->counters().of(Collective::kAllGather).bytes, 7 * 2000);
  EXPECT_EQ(group->counters().of(Collective::kReduceScatter).bytes, 7 * 2000);
  EXPECT_EQ(group->counters().of(Collective::kAllToAll).bytes, 7 * 2000);
  EXPECT_EQ(group->counters().of(Collective::kBroadcast).bytes, 7 * 2000 / 8);
  EXPECT_EQ(group->counters().calls(), 5);
}

TEST(HostStagedCommunicator, GivesWhatTheGroupInHostMemoryGives) {
  auto members = thread_communicators("host", 2);
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      const auto group = host_staged_communicator(std::move(members[static_cast<size_t>(rank)]));
      const auto mine = static_cast<double>(rank);
      const at::Tensor sum = numbers({mine, 1});
      group->all_reduce(sum).wait();
      EXPECT_TRUE(at::equal(sum, numbers({1, 2})));
      const at::Tensor whole = at::zeros({4}), part = at::zeros({2});
      group->all_gather(whole, numbers({mine, 7})).wait();
      EXPECT_TRUE(at::equal(whole, numbers({0, 7, 1, 7})));
      group->reduce_scatter(part, whole).wait();
      EXPECT_TRUE(at::equal(part, 2 * numbers({mine, 7})));
      const at::Tensor received = at::zeros({2, 1});
      group->all_to_all(received, numbers({mine, 10 + mine}).view({2, 1})).wait();
      EXPECT_TRUE(at::equal(received.view(-1), numbers({10 * mine, 10 * mine + 1})));
      group->broadcast(sum, 0).wait();
      group->barrier();
      EXPECT_EQ(group->counters().calls(), 6);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Communicator, AGroupOfOneSendsNothing) {
  const auto group = self_communicator("self");
  at::Tensor whole = at::zeros({2}, at::kFloat);
  group->all_gather(whole, numbers({1, 2})).wait();
  group->all_reduce(whole).wait();
  group->barrier();
  EXPECT_TRUE(at::equal(whole, numbers({1, 2})));
  EXPECT_EQ(group->counters().bytes(), 0);
}

TEST(ThreadCommunicator, ARankThatLeavesFailsTheOthersAndItsErrorIsTheOneSeen) {
  try {
    on_threads(3, [](Communicator& group) {
      if (group.rank() == 1) throw std::out_of_range("rank 1 is broken");
      group.barrier();
      ADD_FAILURE() << "the barrier cannot be passed";
    });
    FAIL() << "nothing was thrown";
  } catch (const std::out_of_range& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1"));
  }
}

}  // namespace
}  // namespace vmla::distributed
