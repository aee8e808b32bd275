#include "trainer/distributed/job/network_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

using testing::HasSubstr;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(OwnAddress, IsTheLoopbackWhereTheRanksMeetThere) {
  for (const std::string host : {"127.0.0.1", "localhost", "::1"}) {
    EXPECT_EQ(own_address(host, 1), "127.0.0.1");
    EXPECT_EQ(own_address(host, 2), "127.0.0.1");
  }
}

TEST(OwnAddress, OfAHostElsewhereNeedsAName) {
  EXPECT_THAT(message_of([] { own_address("no-such-host.invalid", 2); }),
              HasSubstr("MASTER_ADDR 'no-such-host.invalid' does not resolve"));
}

TEST(ListenOn, SaysThatAPortIsTaken) {
  const int socket_fd = listen_on(0);
  const int64_t port = port_of(socket_fd);
  EXPECT_GT(port, 0);
  EXPECT_THAT(
      message_of([&] { listen_on(port); }),
      HasSubstr("MASTER_PORT " + std::to_string(port) + " is taken on host " + host_name()));
  close(socket_fd);
  close(listen_on(port));  // and free again
}

TEST(ListenOnInherited, TakesASocketThatIsBoundOnly) {
  const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  ASSERT_EQ(bind(socket_fd, reinterpret_cast<const sockaddr*>(&any), sizeof(any)), 0);
  const int64_t port = listen_on_inherited(socket_fd);
  EXPECT_GT(port, 0);
  EXPECT_EQ(port, port_of(socket_fd));
  EXPECT_THAT(message_of([&] { listen_on(port); }), HasSubstr("is taken"));
  close(socket_fd);
  EXPECT_EQ(listen_on_inherited(socket_fd), 0);
}

}  // namespace
}  // namespace vmla::distributed
