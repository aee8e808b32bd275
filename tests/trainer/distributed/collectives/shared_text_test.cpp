#include "trainer/distributed/collectives/shared_text.h"

#include <gtest/gtest.h>

#include "trainer/distributed/collectives/thread_communicator.h"

namespace vmla::distributed {
namespace {

TEST(SharedText, IsThatOfOneRank) {
  on_threads(3, [](Communicator& group) {
    EXPECT_EQ(shared_text(group, group.rank() == 0 ? "step_40" : "else"), "step_40");
    EXPECT_EQ(shared_text(group, group.rank() == 0 ? "" : "else"), "");
    EXPECT_EQ(shared_text(group, group.rank() == 2 ? "of the last" : "else", 2), "of the last");
  });
}

}  // namespace
}  // namespace vmla::distributed
