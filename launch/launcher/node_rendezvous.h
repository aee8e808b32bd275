#pragma once

#include <functional>
#include <string>

#include "launch/launcher/launch_options.h"
#include "launch/launcher/line_coalescer.h"

/// How the launchers of several nodes meet: they connect to that of node 0, at --rdzv-endpoint.
/// (trainer/distributed/rendezvous.h is how the ranks meet.) Also the socket that rank 0 inherits.
namespace vmla::launch {

/// Owns a descriptor, and closes it; -1: none.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept : fd_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept;

  int fd() const { return fd_; }
  /// Gives up ownership.
  int release();

 private:
  int fd_;
};

/// A socket, and how it is reached.
struct BoundPort {
  Socket socket;
  std::string host;
  int64_t port = 0;
};

/// Binds a free port for the store that rank 0 serves, so that the system gives it to nobody else
/// until rank 0 listens. It does not listen yet, so that a program that does not know the inherited
/// socket can bind the same port itself (both with SO_REUSEADDR). `host` is how the ranks reach
/// this machine; with a loopback address or "localhost", which becomes one, no other machine does.
/// RunError when the system has no port.
BoundPort bind_store_port(const std::string& host);

/// The non-blocking socket at which node 0's launcher accepts the others. UserError when the port
/// is taken.
Socket listen_at(const Endpoint& endpoint);

/// Connects to node 0's launcher, and tries again until the timeout. Between two tries
/// `interrupted` waits for `pause`; true ends the tries, and an empty socket is returned. UserError
/// when the host name does not resolve or nobody answers.
Socket connect_to(const Endpoint& endpoint,
                  std::chrono::milliseconds timeout,
                  const std::function<bool(std::chrono::milliseconds pause)>& interrupted);

}  // namespace vmla::launch
