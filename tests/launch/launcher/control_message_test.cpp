// What launchers tell each other, as lines.
#include "launch/launcher/control_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ControlMessage, RoundTrips) {
  const auto again = [](const ControlMessage& message) {
    const std::string line = encode(message);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    return decode(line);
  };
  const auto hello = std::get<Hello>(again(Hello{"1.2", 3, 4, 8, "h"}));
  EXPECT_EQ(hello.version, "1.2");
  EXPECT_EQ(hello.node, 3);
  EXPECT_EQ(hello.nodes, 4);
  EXPECT_EQ(hello.workers, 8);
  EXPECT_EQ(hello.host, "h");
  EXPECT_TRUE(std::holds_alternative<Heartbeat>(again(Heartbeat{})));
  const auto start = std::get<StartOrder>(again(StartOrder{"run", 2, 5, {4, 8}, "node0", 1234}));
  EXPECT_EQ(start.run_id, "run");
  EXPECT_EQ(start.attempt, 2);
  EXPECT_EQ(start.max_restarts, 5);
  EXPECT_THAT(start.workers_per_node, ElementsAre(4, 8));
  EXPECT_EQ(start.master_addr, "node0");
  EXPECT_EQ(start.master_port, 1234);
  WorkerEnd end;
  end.rank = 7;
  end.host = "h";
  end.exit_code = 9;
  end.signal = 11;
  end.after_stop = true;
  end.seconds = 1.5;
  end.last_lines = "line \"one\" \n two \xff";  // no UTF-8
  end.message = "m";
  const auto failed = std::get<WorkerFailed>(again(WorkerFailed{1, end}));
  EXPECT_EQ(failed.attempt, 1);
  EXPECT_EQ(failed.end.rank, 7);
  EXPECT_EQ(failed.end.exit_code, 9);
  EXPECT_EQ(failed.end.signal, 11);
  EXPECT_TRUE(failed.end.after_stop);
  EXPECT_EQ(failed.end.seconds, 1.5);
  EXPECT_THAT(failed.end.last_lines, HasSubstr("line \"one\" \n two "));
  const auto ended = std::get<NodeEnded>(again(NodeEnded{3, true}));
  EXPECT_EQ(ended.attempt, 3);
  EXPECT_TRUE(ended.stopped);
  const auto signal = std::get<SignalSeen>(again(SignalSeen{15, true}));
  EXPECT_EQ(signal.number, 15);
  EXPECT_TRUE(signal.at_once);
  EXPECT_EQ(std::get<StopOrder>(again(StopOrder{"why"})).why, "why");
  const auto finish = std::get<FinishOrder>(again(FinishOrder{137, "why"}));
  EXPECT_EQ(finish.status, 137);
  EXPECT_EQ(finish.why, "why");
}

TEST(ControlMessage, WhatIsNoMessageIsRefusedInOneLine) {
  struct Case {
    const char* line;
    const char* says;
  };
  for (const Case& c : {Case{"", "no object"},
                        Case{"GET / HTTP/1.1", "GET / HTTP/1.1"},
                        Case{"[]", "type"},
                        Case{"{}", "type"},
                        Case{R"({"type":"dance"})", "unknown type 'dance'"},
                        Case{R"({"type":"stop"})", "'why' not found"},
                        Case{R"({"type":"failed","attempt":1})", "not found"},
                        Case{R"({"type":"ended","attempt":"x","stopped":true})", "must be number"},
                        Case{R"({"type":"ended","attempt":1,"stopped":1})", "must be boolean"}}) {
    const std::string said = error_of<RunError>([&] { decode(c.line); });
    EXPECT_THAT(said, HasSubstr("not a message between launchers")) << c.line;
    EXPECT_THAT(said, HasSubstr(c.says)) << c.line;
  }
}

// A newer launcher may say more; its version must be readable, so that it can be objected to.
TEST(ControlMessage, UnknownMembersArePassedOver) {
  const auto hello = std::get<Hello>(decode(
      R"({"type":"hello","version":"9","node":1,"nodes":2,"workers":4,"host":"h","colour":"red"})"));
  EXPECT_EQ(hello.version, "9");
}

TEST(ControlMessage, IsAnObjectOfItsMembers) {
  EXPECT_EQ(encode(Heartbeat{}), R"({"type":"heartbeat"})");
  EXPECT_EQ(encode(NodeEnded{3, true}), R"({"attempt":3,"stopped":true,"type":"ended"})");
  WorkerEnd end;
  end.rank = 7;
  end.host = "h";
  EXPECT_EQ(encode(WorkerFailed{1, end}),
            R"({"after_stop":false,"attempt":1,"exit_code":0,"host":"h","last_lines":"",)"
            R"("message":"","rank":7,"seconds":0.0,"signal":0,"type":"failed"})");
}

}  // namespace
}  // namespace vmla::launch
