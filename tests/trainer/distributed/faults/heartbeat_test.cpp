#include "trainer/distributed/faults/heartbeat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmla::distributed {
namespace {

using testing::HasSubstr;
using testing::Not;

const CollectiveRecord kFailed{.group = "world",
                               .collective = Collective::kAllGather,
                               .sequence = 132,
                               .bytes = 8,
                               .state = CollectiveRecord::State::kFailed,
                               .changed = {}};

Heartbeat beat(int64_t count, double sent_at, int64_t sequence) {
  return {.count = count,
          .sent_at = sent_at,
          .step = 12,
          .host = "n07",
          .groups = {{"world",
                      "all_gather #" + std::to_string(sequence) + " of group world",
                      sequence,
                      false,
                      31}}};
}

Sighting alive(int64_t sequence) {
  return {beat(8, 998, sequence), beat(10, 1000, sequence)};
}

TEST(Heartbeat, IsReadAsItWasWritten) {
  Heartbeat sent = beat(7, 1700000000.25, 131);
  sent.groups.push_back({"shard of 4", "broadcast #2 of group shard of 4", 2, true, 0.5});
  const auto read = parse_heartbeat(format_heartbeat(sent));
  ASSERT_TRUE(read);
  EXPECT_EQ(format_heartbeat(*read), format_heartbeat(sent));
  ASSERT_EQ(read->groups.size(), 2u);
  EXPECT_EQ(read->groups[1].name, "shard of 4");
  EXPECT_TRUE(read->groups[1].under_way);
  EXPECT_EQ(read->host, "n07");
  EXPECT_FALSE(parse_heartbeat("nonsense"));
}

TEST(MissingRanks, ASilentRankIsNamedBeforeOneThatIsLate) {
  std::vector<Sighting> ranks{alive(132), alive(130), {beat(9, 969, 131), beat(9, 969, 131)}};
  EXPECT_EQ(
      name_missing_ranks(kFailed, {}, 0, ranks, 1000),
      "all_gather #132 of group world: rank 2 on host n07 has not answered for 31 s; its last "
      "collective was all_gather #131 of group world, finished");
}

TEST(MissingRanks, AnEndedRankIsNamedAndAVictimIsNot) {
  Sighting ended = alive(131), victim = alive(131);
  ended.after->state = Heartbeat::State::kEnded;
  victim.after->state = Heartbeat::State::kFailed;
  const std::string line = name_missing_ranks(kFailed, {}, 0, {alive(132), victim, ended}, 1000);
  EXPECT_THAT(line, HasSubstr("rank 2 on host n07 has ended; its last collective"));
  EXPECT_THAT(line, Not(HasSubstr("rank 1")));
}

TEST(MissingRanks, ARankThatLivesElsewhereIsLate) {
  EXPECT_THAT(name_missing_ranks(kFailed, {}, 1, {alive(131), alive(132)}, 1000),
              HasSubstr("rank 0 on host n07 answers but has not come to it, in step 12; its last "
                        "collective was all_gather #131 of group world, finished 31 s ago"));
}

TEST(MissingRanks, OnlyMembersOfTheGroupCanBeLate) {
  const std::string line =
      name_missing_ranks(kFailed, {0, 2}, 0, {alive(132), alive(131), alive(130)}, 1000);
  EXPECT_THAT(line, HasSubstr("rank 2"));
  EXPECT_THAT(line, Not(HasSubstr("rank 1")));
}

TEST(MissingRanks, OnlyThreeAreNamedTheLongestSilentFirst) {
  std::vector<Sighting> ranks{alive(132)};
  for (int i = 1; i <= 5; ++i) {
    const Heartbeat last = beat(9, 900.0 + i, 131);
    ranks.push_back({last, last});
  }
  ranks.push_back({});
  const std::string line = name_missing_ranks(kFailed, {}, 0, ranks, 1000);
  EXPECT_THAT(line, HasSubstr("world: rank 6 has never answered; rank 1 on host n07"));
  EXPECT_THAT(line, HasSubstr("; and 3 more ranks"));
}

}  // namespace
}  // namespace vmla::distributed
