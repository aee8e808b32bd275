#pragma once

#include <functional>
#include <string>

#include "launch/launcher/launch_options.h"
#include "launch/launcher/line_coalescer.h"

/// Sockets: where launchers meet, and the one that rank 0 inherits.
namespace vmla::launch {

/// A descriptor that is closed at the end.
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

/// A socket that is bound to a free port.
struct BoundPort {
  Socket socket;
  int64_t port = 0;
};

/// For the store that rank 0 serves: bound and not yet listening, so that a program that knows
/// nothing of the inherited socket can still bind the port itself (both with SO_REUSEADDR), while
/// nobody is given the port by chance. `loopback`: reached from this machine only.
BoundPort bind_store_port(bool loopback);

/// Where node 0's launcher waits for the others. UserError when the port is taken.
Socket listen_at(const Endpoint& endpoint);

/// Connects to node 0's launcher, trying again until the deadline; `interrupted` is asked between
/// tries and ends them with an empty socket. UserError when the host does not resolve or nobody
/// answers.
Socket connect_to(const Endpoint& endpoint,
                  std::chrono::milliseconds timeout,
                  const std::function<bool(std::chrono::milliseconds pause)>& interrupted);

}  // namespace vmla::launch
