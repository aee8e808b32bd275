// Who is let in, on the loopback interface, without any launcher.
#include "launch/launcher/reception.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include "launch/launcher/peer_proof.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

class Receiving : public ::testing::Test {
 protected:
  /// Opens the reception of a job with this token.
  void open(const std::string& token) {
    BoundPort port = bind_store_port("127.0.0.1");
    endpoint_ = {"127.0.0.1", port.port};
    port.socket = Socket();
    reception_ = std::make_unique<Reception>(
        listen_at(endpoint_), token, [this](const std::string& line) { said_.push_back(line); });
  }
  std::unique_ptr<NodeLink> connect() const {
    Socket socket = connect_to(endpoint_, 5s, [](std::chrono::milliseconds) { return false; });
    return std::make_unique<NodeLink>(socket.release(), Clock::now());
  }
  void turn(Clock::time_point now = Clock::now()) {
    reception_->progress(
        now,
        [](const Hello& hello) { return hello.node > 1 ? "not here" : ""; },
        [this](Reception::Joined joined) { joined_.push_back(std::move(joined)); });
  }
  /// The first message of type T that comes.
  template <class T>
  T hear(NodeLink& link) {
    for (int tries = 0; tries < 500 && !link.closed(); ++tries) {
      turn();
      for (const ControlMessage& message : link.progress(Clock::now())) {
        if (std::holds_alternative<T>(message)) return std::get<T>(message);
      }
      usleep(2000);
    }
    ADD_FAILURE() << "it did not come";
    return {};
  }
  /// Says hello as a launcher with this token does; returns its hello.
  Hello greet(NodeLink& link, const std::string& token, int64_t node = 1) {
    const auto challenge = hear<Challenge>(link);
    Hello hello{VMLA_VERSION, node, 2, 4, "h", random_nonce(), ""};
    hello.proof = member_proof(token, challenge.nonce, hello);
    last_nonce_ = challenge.nonce;
    link.send(hello);
    return hello;
  }

  const std::string token_ = std::string(32, 't');
  Endpoint endpoint_;
  std::unique_ptr<Reception> reception_;
  std::vector<std::string> said_;
  std::vector<Reception::Joined> joined_;
  std::string last_nonce_;
};

TEST_F(Receiving, WhoHasTheTokenIsLetInAndShownThatNode0HasItToo) {
  open(token_);
  const auto link = connect();
  const Hello hello = greet(*link, token_);
  EXPECT_EQ(hear<Welcome>(*link).proof, coordinator_proof(token_, last_nonce_, hello.nonce));
  ASSERT_EQ(joined_.size(), 1u);
  EXPECT_EQ(joined_[0].hello.workers, 4);
}

TEST_F(Receiving, WhoHasNoneOrAnotherIsNot) {
  open(token_);
  for (const std::string& token : {std::string(), std::string(32, 'u')}) {
    const auto link = connect();
    greet(*link, token);
    EXPECT_THAT(hear<FinishOrder>(*link).why, HasSubstr("is not that of node 0"));
  }
  EXPECT_THAT(joined_, IsEmpty());
  EXPECT_THAT(said_[0], HasSubstr("refused the launcher on 127.0.0.1: "));
}

TEST_F(Receiving, AnOldProofIsNone) {
  open(token_);
  const auto first = connect();
  const Hello hello = greet(*first, token_);
  hear<Welcome>(*first);
  const auto second = connect();
  hear<Challenge>(*second);
  second->send(hello);
  hear<FinishOrder>(*second);
  EXPECT_EQ(joined_.size(), 1u);
}

TEST_F(Receiving, WithoutATokenEverybodyMayJoinWhoFits) {
  open("");
  const auto link = connect();
  greet(*link, "");
  EXPECT_EQ(hear<Welcome>(*link).proof, "");
  const auto wrong = connect();
  greet(*wrong, "", /*node=*/2);
  EXPECT_EQ(hear<FinishOrder>(*wrong).why, "error: not here");
  const auto guarded = connect();
  greet(*guarded, token_);
  EXPECT_THAT(hear<FinishOrder>(*guarded).why, HasSubstr("none on node 0"));
  EXPECT_EQ(joined_.size(), 1u);
}

TEST_F(Receiving, OrdersOfAStrangerAreNotHeard) {
  open("");
  for (const ControlMessage& message :
       {ControlMessage(SignalSeen{15, true}), ControlMessage(FinishOrder{0, "x"})}) {
    const auto link = connect();
    link->send(message);
    hear<FinishOrder>(*link);
  }
  EXPECT_THAT(joined_, IsEmpty());
}

TEST_F(Receiving, ACrowdOfSilentStrangersKeepsNobodyOut) {
  open(token_);
  std::vector<std::unique_ptr<NodeLink>> crowd;
  for (int i = 0; i < 300; ++i) {
    crowd.push_back(connect());
    if (i % 20 == 0) turn();
  }
  const auto link = connect();
  greet(*link, token_);
  hear<Welcome>(*link);
  EXPECT_EQ(joined_.size(), 1u);
  // Nor do they stay for ever.
  turn(Clock::now() + 11s);
  std::vector<pollfd> waited;
  reception_->wait_for(waited);
  EXPECT_EQ(waited.size(), 1u);  // the listening socket
}

TEST_F(Receiving, ACrowdOfTalkersDoesNotFillTheTerminal) {
  open("");
  for (int i = 0; i < 30; ++i) {
    const auto link = connect();
    link->send(StopOrder{"\033[2J forged"});
    hear<FinishOrder>(*link);
  }
  EXPECT_EQ(said_.size(), 11u);
  EXPECT_THAT(said_.back(), HasSubstr("not shown"));
}

TEST_F(Receiving, WhoSaysTooMuchIsDisconnected) {
  open("");
  const auto link = connect();
  link->send(StopOrder{std::string(20'000, 'x')});
  for (int tries = 0; tries < 500 && !link->closed(); ++tries) {
    turn();
    link->progress(Clock::now());
    usleep(2000);
  }
  EXPECT_TRUE(link->closed());
}

}  // namespace
}  // namespace vmla::launch
