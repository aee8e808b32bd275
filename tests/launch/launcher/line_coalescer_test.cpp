// What several ranks say alike is shown once, and nothing changes places.
#include "launch/launcher/line_coalescer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "launch/launcher/worker_process.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using namespace std::chrono_literals;

const Clock::time_point kStart{};

std::vector<std::string> shown(const std::vector<ShownLine>& lines) {
  std::vector<std::string> out;
  for (const ShownLine& line : lines) {
    out.push_back((line.to_stderr ? "!" : "") + rank_ranges(line.ranks) + " " + line.text);
  }
  return out;
}

TEST(LineCoalescer, Ranges) {
  EXPECT_EQ(rank_ranges({0}), "0");
  EXPECT_EQ(rank_ranges({0, 1, 2, 3}), "0-3");
  EXPECT_EQ(rank_ranges({0, 2, 3, 7, 8, 9}), "0,2-3,7-9");
}

TEST(LineCoalescer, ALineOfAllRanksIsShownAtOnce) {
  LineCoalescer lines(3, 100ms);
  lines.add(2, false, "a", kStart);
  lines.add(0, false, "a", kStart + 1ms);
  EXPECT_TRUE(lines.take(kStart + 1ms).empty());
  EXPECT_EQ(lines.due(), kStart + 100ms);
  lines.add(1, false, "a", kStart + 2ms);
  EXPECT_THAT(shown(lines.take(kStart + 2ms)), ElementsAre("0-2 a"));
  EXPECT_FALSE(lines.due());
}

TEST(LineCoalescer, ALineOfSomeWaitsForTheWindow) {
  LineCoalescer lines(3, 100ms);
  lines.add(0, false, "a", kStart);
  lines.add(1, false, "a", kStart + 50ms);
  EXPECT_TRUE(lines.take(kStart + 99ms).empty());
  EXPECT_THAT(shown(lines.take(kStart + 100ms)), ElementsAre("0-1 a"));
  lines.add(2, false, "a", kStart + 101ms);
  EXPECT_THAT(shown(lines.take_all()), ElementsAre("2 a"));
}

TEST(LineCoalescer, StreamsAndTextsStayApart) {
  LineCoalescer lines(2, 100ms);
  lines.add(0, false, "a", kStart);
  lines.add(1, true, "a", kStart);
  lines.add(1, false, "b", kStart);
  EXPECT_THAT(shown(lines.take_all()), ElementsAre("0 a", "!1 a", "1 b"));
}

TEST(LineCoalescer, ARankThatRepeatsItselfIsShownTwice) {
  LineCoalescer lines(2, 100ms);
  for (const int64_t rank : {0, 0, 1, 1}) lines.add(rank, false, "a", kStart);
  EXPECT_THAT(shown(lines.take_all()), ElementsAre("0 a", "0-1 a", "1 a"));
}

TEST(LineCoalescer, OneRankIsNeverHeldBack) {
  LineCoalescer lines(1, 100ms);
  lines.add(4, false, "a", kStart);
  EXPECT_THAT(shown(lines.take(kStart)), ElementsAre("4 a"));
}

// Whatever is said in whatever order, each rank's own lines come out complete and in order.
TEST(LineCoalescer, EveryRanksOrderIsKept) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    LineCoalescer lines(4, 5ms);
    std::map<int64_t, std::vector<std::string>> said, heard;
    const auto hear = [&](const std::vector<ShownLine>& out) {
      for (const ShownLine& line : out) {
        for (const int64_t rank : line.ranks) heard[rank].push_back(line.text);
      }
    };
    for (int i = 0; i < 60; ++i) {
      const int64_t rank = random() % 4;
      const std::string text(1, static_cast<char>('a' + random() % 3));
      said[rank].push_back(text);
      lines.add(rank, false, text, kStart + std::chrono::milliseconds(i));
      hear(lines.take(kStart + std::chrono::milliseconds(i)));
    }
    hear(lines.take_all());
    ASSERT_EQ(said, heard) << "round " << round;
  }
}

TEST(LineCoalescer, AProgressBarIsItsLastState) {
  EXPECT_EQ(visible_text("10%\r20%\r30%"), "30%");
  EXPECT_EQ(visible_text("from a file of another system\r"), "from a file of another system");
  EXPECT_EQ(visible_text("plain"), "plain");
  EXPECT_EQ(visible_text(""), "");
}

}  // namespace
}  // namespace vmla::launch
