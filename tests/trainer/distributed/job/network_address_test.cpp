#include "trainer/distributed/job/network_address.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

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

std::string bound_to(int socket_fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &length);
  char text[INET6_ADDRSTRLEN] = {};
  const void* const place =
      address.ss_family == AF_INET6
          ? static_cast<const void*>(&reinterpret_cast<sockaddr_in6&>(address).sin6_addr)
          : &reinterpret_cast<sockaddr_in&>(address).sin_addr;
  return inet_ntop(address.ss_family, place, text, sizeof(text));
}

// Of a job on one machine nobody else needs the store.
TEST(ListenOn, ALoopbackAddressIsAllThatIsListenedOn) {
  const std::map<std::string, std::string> cases = {
      {"127.0.0.1", "127.0.0.1"}, {"127.0.0.5", "127.0.0.5"}, {"localhost", "127.0.0.1"}};
  for (const auto& [host, address] : cases) {
    const int socket_fd = listen_on(0, host);
    EXPECT_EQ(bound_to(socket_fd), address);
    close(socket_fd);
  }
  const int everywhere = listen_on(0, "node0");
  EXPECT_THAT(bound_to(everywhere), testing::AnyOf("::", "0.0.0.0"));
  close(everywhere);
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
