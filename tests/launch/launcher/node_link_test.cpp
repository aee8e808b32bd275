// The connection between two launchers.
#include "launch/launcher/node_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <new>
#include <string>

namespace vmla::launch {
namespace {

using namespace std::chrono_literals;

class Links : public ::testing::Test {
 protected:
  Links() {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::bad_alloc();
    left_ = std::make_unique<NodeLink>(ends[0], start_);
    raw_ = ends[1];
  }
  ~Links() override {
    if (raw_ >= 0) close(raw_);
  }
  void say(const std::string& bytes) const {
    ASSERT_EQ(write(raw_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }

  const Clock::time_point start_{};
  std::unique_ptr<NodeLink> left_;
  int raw_ = -1;
};

TEST_F(Links, LinesMayComeInPieces) {
  const std::string line = encode(StopOrder{"why"}) + "\n";
  say(line.substr(0, 5));
  EXPECT_TRUE(left_->progress(start_).empty());
  say(line.substr(5) + line + line.substr(0, 3));
  EXPECT_EQ(left_->progress(start_).size(), 2u);
  say(line.substr(3));
  EXPECT_EQ(left_->progress(start_).size(), 1u);
  EXPECT_FALSE(left_->closed());
}

TEST_F(Links, SilenceIsMeasured) {
  say(encode(Heartbeat{}) + "\n");
  left_->progress(start_ + 3s);
  EXPECT_EQ(left_->silent_for(start_ + 5s), 2s);
}

TEST_F(Links, HeartbeatsGoOutEverySecond) {
  NodeLink right(raw_, start_);
  raw_ = -1;
  EXPECT_EQ(left_->due(), start_ + 1s);
  left_->progress(start_ + 999ms);
  EXPECT_TRUE(right.progress(start_).empty());
  left_->progress(start_ + 1s);
  const auto heard = right.progress(start_);
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Heartbeat>(heard[0]));
}

TEST_F(Links, StrangersAreDisconnected) {
  say("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(left_->progress(start_).empty());
  EXPECT_TRUE(left_->closed());
}

TEST_F(Links, NobodySaysMoreThanTheirShare) {
  // Read bit by bit, so that others get their turn; cut off when a second holds too much.
  const std::string line = encode(Heartbeat{}) + "\n";
  std::string many;
  while (many.size() < 32'000) many += line;
  size_t heard = 0;
  for (int turn = 0; turn < 100 && !left_->closed(); ++turn) {
    say(many);
    heard += left_->progress(start_).size();
  }
  EXPECT_TRUE(left_->closed());
  EXPECT_LE(heard, 10'000u);
}

TEST_F(Links, WhoDoesNotReadIsDisconnected) {
  for (int i = 0; i < 1000 && !left_->closed(); ++i) left_->send(StopOrder{std::string(4000, 'x')});
  EXPECT_TRUE(left_->closed());
}

TEST_F(Links, TheLastWordsAreHeardBeforeTheEnd) {
  say(encode(FinishOrder{1, "why"}) + "\n");
  close(raw_);
  raw_ = -1;
  EXPECT_EQ(left_->progress(start_).size(), 1u);
  EXPECT_TRUE(left_->closed());
  left_->send(Heartbeat{});
  EXPECT_TRUE(left_->all_sent());
}

}  // namespace
}  // namespace vmla::launch
