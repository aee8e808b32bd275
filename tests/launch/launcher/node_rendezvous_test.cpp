// Ports and connections, without any launcher.
#include "launch/launcher/node_rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

TEST(NodeRendezvous, AStorePortIsNobodyElses) {
  const BoundPort first = bind_store_port("127.0.0.1"), second = bind_store_port("localhost");
  EXPECT_GT(first.port, 0);
  EXPECT_NE(first.port, second.port);
  EXPECT_EQ(listen(first.socket.fd(), 8), 0);
  const Socket connected =
      connect_to({"127.0.0.1", first.port}, 5s, [](std::chrono::milliseconds) { return false; });
  EXPECT_GE(connected.fd(), 0);
  // Who listens keeps the port for itself.
  try {
    listen_at({"127.0.0.1", first.port});
    ADD_FAILURE() << "two listen on one port";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is taken"));
  }
}

TEST(NodeRendezvous, NobodyAnswers) {
  const BoundPort port = bind_store_port("127.0.0.1");  // not listening
  int tries = 0;
  try {
    connect_to({"127.0.0.1", port.port}, 0s, [&](std::chrono::milliseconds) {
      ++tries;
      return false;
    });
    ADD_FAILURE() << "somebody answered";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr(formatted("127.0.0.1:{}", port.port)));
    EXPECT_THAT(error.what(), HasSubstr("nobody answers"));
  }
  const Socket none = connect_to(
      {"127.0.0.1", port.port}, 60s, [&](std::chrono::milliseconds) { return ++tries == 3; });
  EXPECT_LT(none.fd(), 0);
  EXPECT_EQ(tries, 3);
}

}  // namespace
}  // namespace vmla::launch
