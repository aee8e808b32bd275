#include "launch/launcher/node_rendezvous.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

void allow_reuse(int fd) {
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

/// Binds to `port` (0: a free one) of the interface that has the numeric address `host`, or of all
/// where it is empty. On failure errno says why.
Socket bound(const std::string& host, bool ipv6, int64_t port) {
  Socket out(socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (out.fd() < 0) return out;
  allow_reuse(out.fd());
  int result = -1;
  if (ipv6) {
    const int off = 0;
    setsockopt(out.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);  // takes IPv4 as well
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(static_cast<uint16_t>(port));
    if (!host.empty()) inet_pton(AF_INET6, host.c_str(), &address.sin6_addr);
    result = bind(out.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (!host.empty()) inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    result = bind(out.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  if (result == 0) return out;
  const int reason = errno;
  out = Socket();
  errno = reason;
  return out;
}

bool has_no_such_address(int reason) {
  return reason == EADDRNOTAVAIL || reason == EAFNOSUPPORT;
}

/// The same on a loopback interface: that of the address `host`, or for "localhost" IPv4's, unless
/// only IPv6 has one.
Socket bound_loopback(const std::string& host, int64_t port) {
  if (host == "::1") return bound(host, true, port);
  Socket out = bound(host == "localhost" ? "127.0.0.1" : host, false, port);
  if (out.fd() >= 0 || host != "localhost" || !has_no_such_address(errno)) return out;
  return bound("::1", true, port);
}

/// The same on all interfaces: of IPv6 and IPv4 where the machine has IPv6, else of IPv4.
Socket bound_anywhere(int64_t port) {
  Socket out = bound("", true, port);
  if (out.fd() >= 0 || errno == EADDRINUSE || errno == EACCES) return out;
  return bound("", false, port);
}

int64_t port_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

/// One try to connect. On failure the socket is empty and errno says why.
Socket try_address(const addrinfo& address, std::chrono::milliseconds wait) {
  Socket out(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (out.fd() < 0) return out;
  int reason = connect(out.fd(), address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (reason == EINPROGRESS) {
    pollfd ready{out.fd(), POLLOUT, 0};
    socklen_t size = sizeof reason;
    if (poll(&ready, 1, static_cast<int>(wait.count())) != 1) {
      reason = ETIMEDOUT;
    } else {
      getsockopt(out.fd(), SOL_SOCKET, SO_ERROR, &reason, &size);
    }
  }
  // On one machine, a connection to a free port can be given that very port as its own end, and is
  // then connected to itself (TCP's simultaneous open).
  sockaddr_storage here{}, there{};
  socklen_t here_size = sizeof here, there_size = sizeof there;
  if (reason == 0 && getsockname(out.fd(), reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
      getpeername(out.fd(), reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
      std::memcmp(&here, &there, sizeof here) == 0) {
    reason = ECONNREFUSED;
  }
  if (reason != 0) out = Socket();
  errno = reason;
  return out;
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

int Socket::release() {
  return std::exchange(fd_, -1);
}

BoundPort bind_store_port(const std::string& host) {
  BoundPort out;
  out.socket = is_loopback(host) ? bound_loopback(host, 0) : bound_anywhere(0);
  if (out.socket.fd() < 0)
    fail_run("cannot bind a port for rank 0's store: {}", std::strerror(errno));
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(out.socket.fd(), reinterpret_cast<sockaddr*>(&address), &size);
  out.host = host != "localhost" ? host : address.ss_family == AF_INET6 ? "::1" : "127.0.0.1";
  out.port = port_of(out.socket.fd());
  return out;
}

Socket listen_at(const Endpoint& endpoint) {
  Socket out = is_loopback(endpoint.host) ? bound_loopback(endpoint.host, endpoint.port)
                                          : bound_anywhere(endpoint.port);
  if (out.fd() < 0 || listen(out.fd(), 1024) != 0) {
    if (errno == EADDRINUSE) {
      fail_user(
          "--rdzv-endpoint: port {} is taken on this machine, perhaps by another job; choose "
          "another port, the same on all nodes",
          endpoint.port);
    }
    fail_user("--rdzv-endpoint: cannot listen on port {}: {}", endpoint.port, std::strerror(errno));
  }
  fcntl(out.fd(), F_SETFL, O_NONBLOCK);
  return out;
}

Socket connect_to(const Endpoint& endpoint,
                  std::chrono::milliseconds timeout,
                  const std::function<bool(std::chrono::milliseconds pause)>& interrupted) {
  const auto deadline = Clock::now() + timeout;
  const std::string where = formatted("--rdzv-endpoint {}:{}", endpoint.host, endpoint.port);
  while (true) {
    addrinfo hints{}, *list = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const int problem =
        getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &list);
    const Addresses addresses(problem == 0 ? list : nullptr, &freeaddrinfo);
    if (problem == EAI_NONAME) {
      fail_user("{}: the host name {} does not resolve on this machine", where, endpoint.host);
    }
    std::string reason = problem == 0 ? "" : gai_strerror(problem);
    for (const addrinfo* address = addresses.get(); address != nullptr;
         address = address->ai_next) {
      Socket out = try_address(*address, std::chrono::seconds(1));
      if (out.fd() >= 0) return out;
      reason = std::strerror(errno);
    }
    if (Clock::now() >= deadline) {
      fail_user("{}{} within {:g} s ({}); is the launcher with --node-rank 0 running there?",
                where,
                problem == 0 ? ": nobody answers" : ": the host name does not resolve",
                timeout.count() / 1000.0,
                reason);
    }
    if (interrupted(std::chrono::milliseconds(200))) return Socket();
  }
}

}  // namespace vmla::launch
