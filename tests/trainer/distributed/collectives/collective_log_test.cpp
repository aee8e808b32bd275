#include "trainer/distributed/collectives/collective_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace vmla::distributed {
namespace {

TEST(CollectiveLog, KeepsTheLastAndThoseUnderWay) {
  CollectiveLog log(3);
  const int64_t slow = log.started("shard", Collective::kAllGather, 1, 10);
  for (int64_t i = 1; i <= 5; ++i) log.finished(log.started("world", Collective::kAllReduce, i, 1));
  EXPECT_EQ(log.last().size(), 4u);
  EXPECT_FALSE(log.longest_awaited()) << "started ahead, and nobody waits";
  log.awaited(slow);
  ASSERT_TRUE(log.longest_awaited());
  EXPECT_EQ(describe(*log.longest_awaited()), "all_gather #1 of group shard");
  ASSERT_EQ(log.latest().size(), 2u);
  EXPECT_EQ(describe(log.latest()[1]), "all_reduce #5 of group world");
  EXPECT_FALSE(log.first_failed());
  log.failed(slow);
  EXPECT_FALSE(log.longest_awaited());
  EXPECT_EQ(describe(log.first_failed().value()), "all_gather #1 of group shard");
}

TEST(CollectiveLog, ACollectiveOnADeviceIsUnderWayUntilTheDeviceIsPastIt) {
  CollectiveLog log(3);
  bool is_done = false;
  const int64_t first = log.started("world", Collective::kAllReduce, 1, 1);
  log.awaited(first);
  log.finished(first, [&] { return is_done; });
  log.finished(log.started("world", Collective::kAllReduce, 2, 1));
  ASSERT_TRUE(log.longest_awaited());
  EXPECT_EQ(log.longest_awaited()->sequence, 1);
  is_done = true;
  EXPECT_FALSE(log.longest_awaited());
}

TEST(CollectiveLog, ADeviceSaysThatACollectiveHasFailed) {
  CollectiveLog log(3);
  const int64_t ticket = log.started("world", Collective::kAllReduce, 1, 1);
  bool is_broken = false;
  log.finished(ticket, [&]() -> bool {
    if (is_broken) throw std::runtime_error("a peer is gone");
    return false;
  });
  EXPECT_FALSE(log.first_failed_on_device());
  is_broken = true;
  EXPECT_EQ(describe(log.first_failed_on_device().value()), "all_reduce #1 of group world");
  EXPECT_EQ(describe(log.first_failed().value()), "all_reduce #1 of group world");
  // Failures that a thread was told of are none of the device's.
  CollectiveLog told(3);
  told.failed(told.started("world", Collective::kAllReduce, 1, 1));
  EXPECT_FALSE(told.first_failed_on_device());
}

}  // namespace
}  // namespace vmla::distributed
