#include "trainer/distributed/collectives/shared_text.h"

#include <gtest/gtest.h>

#include "trainer/distributed/collectives/thread_communicator.h"

namespace vmla::distributed {
namespace {

TEST(SharedText, IsRankZeros) {
  on_threads(3, [](Communicator& group) {
    EXPECT_EQ(shared_text(group, group.rank() == 0 ? "step_40" : "else"), "step_40");
    EXPECT_EQ(shared_text(group, group.rank() == 0 ? "" : "else"), "");
  });
}

}  // namespace
}  // namespace vmla::distributed
