#include "trainer/distributed/job/network_address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cstdlib>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "model/io/error.h"
#include "trainer/distributed/job/clock.h"

namespace vmla::distributed {
namespace {

// A name server that does not answer at once is asked again for this long.
constexpr double kNameServerPatience = 5;  // seconds

std::string numeric(const sockaddr* address, socklen_t length) {
  std::array<char, NI_MAXHOST> text{};
  const int failed =
      getnameinfo(address, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return failed == 0 ? text.data() : "";
}

socklen_t length_of(const sockaddr* address) {
  return address->sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

/// The source address of packets to a numeric address; empty when there is no way to it.
std::string source_address(const std::string& towards) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(towards.c_str(), "9", &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  // Connecting a datagram socket sends nothing: it only chooses the route.
  const int socket_fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return {};
  std::string own;
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  if (connect(socket_fd, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(socket_fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0) {
    own = numeric(reinterpret_cast<const sockaddr*>(&bound), length);
  }
  close(socket_fd);
  return own;
}

/// The first address of an interface that is up and no loopback; empty when there is none.
std::string outward_address() {
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(interfaces, &freeifaddrs);
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* one = interfaces; one != nullptr; one = one->ifa_next) {
      if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != family) continue;
      if ((one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
      return numeric(one->ifa_addr, length_of(one->ifa_addr));
    }
  }
  return {};
}

/// Any address of a family, or the one that `numeric` is; no family where it is none.
sockaddr_storage address_of(int family, const std::string& numeric) {
  sockaddr_storage out{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
  void* const place = family == AF_INET6 ? static_cast<void*>(&v6.sin6_addr) : &v4.sin_addr;
  if (numeric.empty() || inet_pton(family, numeric.c_str(), place) == 1)
    out.ss_family = static_cast<sa_family_t>(family);
  return out;
}

/// Binds and listens; returns the socket, or -1 with errno. `numeric`: empty for all addresses.
int try_listen(int family, const std::string& numeric, int64_t port) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1, no = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_storage address = address_of(family, numeric);
  if (family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(static_cast<uint16_t>(port));
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(static_cast<uint16_t>(port));
  }
  const auto* bound = reinterpret_cast<const sockaddr*>(&address);
  if (bind(fd, bound, length_of(bound)) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
  const int why = errno;
  close(fd);
  errno = why;
  return -1;
}

/// The loopback address of this machine: IPv4's, unless only IPv6 has one.
std::string loopback_address() {
  const int fd = try_listen(AF_INET, "127.0.0.1", 0);
  if (fd >= 0) close(fd);
  const bool has_no_v4 = fd < 0 && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT);
  return has_no_v4 ? "::1" : "127.0.0.1";
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

std::vector<std::string> resolve_host(const std::string& host, const std::string& what) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const auto start = Clock::now();
  int failed = 0;
  while ((failed = getaddrinfo(host.c_str(), nullptr, &hints, &found)) == EAI_AGAIN &&
         seconds_since(start) < kNameServerPatience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  if (failed != 0)
    fail_user(
        "{} '{}' does not resolve on host {}: {}; give a name or address that every host knows",
        what,
        host,
        host_name(),
        gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next)
    addresses.push_back(numeric(one->ai_addr, one->ai_addrlen));
  return addresses;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

std::string own_address(const std::string& host, int64_t nodes) {
  const std::string loopback = loopback_address();
  if (host.empty() || host == "localhost" || is_loopback(host)) return loopback;
  for (const std::string& address : resolve_host(host, "MASTER_ADDR")) {
    const std::string own = source_address(address);
    if (!own.empty() && !is_loopback(own)) return own;
  }
  if (nodes == 1) return loopback;
  const std::string own = outward_address();
  return own.empty() ? loopback : own;
}

int listen_on(int64_t port, const std::string& host) {
  int fd = -1;
  if (host == "localhost" || is_loopback(host)) {
    const std::string address = host == "localhost" ? loopback_address() : host;
    fd = try_listen(address == "::1" ? AF_INET6 : AF_INET, address, port);
  } else {
    fd = try_listen(AF_INET6, "", port);
    if (fd < 0 && errno != EADDRINUSE) fd = try_listen(AF_INET, "", port);
  }
  if (fd >= 0) return fd;
  if (errno == EADDRINUSE)
    fail_user(
        "MASTER_PORT {} is taken on host {}: another job or program listens there; choose another "
        "port",
        port,
        host_name());
  fail_user("MASTER_PORT {} cannot be listened on, on host {}: {}",
            port,
            host_name(),
            std::strerror(errno));
}

int64_t listen_on_inherited(int socket) {
  if (listen(socket, SOMAXCONN) != 0 || fcntl(socket, F_SETFD, FD_CLOEXEC) != 0) return 0;
  return port_of(socket);
}

int64_t port_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

int64_t close_sockets_on_exec() {
  int64_t changed = 0;
  std::error_code unreadable;
  std::filesystem::directory_iterator entry("/proc/self/fd", unreadable);
  for (; !unreadable && entry != std::filesystem::directory_iterator();
       entry.increment(unreadable)) {
    std::error_code error;
    if (!read_symlink(entry->path(), error).string().starts_with("socket:")) continue;
    const int fd = std::atoi(entry->path().filename().c_str());  // the system's own number
    const int flags = fcntl(fd, F_GETFD);
    const bool standard = fd <= STDERR_FILENO;  // a log may be a socket
    if (standard || flags < 0 || (flags & FD_CLOEXEC) != 0) continue;
    if (fcntl(fd, F_SETFD, flags | FD_CLOEXEC) == 0) ++changed;
  }
  return changed;
}

}  // namespace vmla::distributed
