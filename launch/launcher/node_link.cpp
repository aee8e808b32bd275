#include "launch/launcher/node_link.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

constexpr std::chrono::seconds kHeartbeatInterval{1};
// What is read in one turn: then it is another peer's turn.
constexpr size_t kMostInATurn = size_t{64} << 10;
// What may wait for a peer that does not read.
constexpr size_t kMostWaiting = size_t{1} << 20;
// All workers of a node may fail at once, with a message each; nobody has more to say in a second.
constexpr int64_t kMostMessages = 10'000;

}  // namespace

NodeLink::NodeLink(int fd, Clock::time_point now, size_t longest)
    : fd_(fd), longest_(longest), second_began_(now), last_received_(now), last_heartbeat_(now) {
  fcntl(fd_, F_SETFL, O_NONBLOCK);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

NodeLink::~NodeLink() {
  close(fd_);
}

void NodeLink::send(const ControlMessage& message) {
  if (closed_) return;
  out_ += encode(message) + "\n";
  write_some();
  if (out_.size() > kMostWaiting) closed_ = true;
}

void NodeLink::write_some() {
  while (!closed_ && !out_.empty()) {
    const ssize_t count = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (count > 0) {
      out_.erase(0, static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      // The peer is gone, but what it sent before can still be read; reading then finds the end.
      out_.clear();
      return;
    }
  }
}

void NodeLink::read_some(Clock::time_point now) {
  std::array<char, 1 << 14> buffer;
  for (size_t turn = 0; turn < kMostInATurn / buffer.size() && !closed_; ++turn) {
    const ssize_t count = recv(fd_, buffer.data(), buffer.size(), 0);
    if (count > 0) {
      in_.append(buffer.data(), static_cast<size_t>(count));
      last_received_ = now;
    } else if (count < 0 && errno == EAGAIN) {
      return;
    } else if (count == 0 || errno != EINTR) {
      closed_ = true;
    }
  }
}

void NodeLink::wait_for(std::vector<pollfd>& descriptors) const {
  if (closed_) return;
  const bool writes = !out_.empty();
  descriptors.push_back({fd_, static_cast<short>(writes ? POLLIN | POLLOUT : POLLIN), 0});
}

Clock::time_point NodeLink::due() const {
  return closed_ ? Clock::time_point::max() : last_heartbeat_ + kHeartbeatInterval;
}

bool NodeLink::is_in_time(Clock::time_point now) {
  if (now - second_began_ >= std::chrono::seconds(1)) {
    second_began_ = now;
    messages_ = 0;
  }
  return ++messages_ <= kMostMessages;
}

std::vector<ControlMessage> NodeLink::progress(Clock::time_point now) {
  if (now >= due()) {
    last_heartbeat_ = now;
    send(Heartbeat{});
  }
  write_some();
  read_some(now);
  std::vector<ControlMessage> out;
  size_t begin = 0;
  try {
    for (size_t end; (end = in_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (end - begin > longest_ || !is_in_time(now)) fail_run("too much");
      out.push_back(decode(in_.substr(begin, end - begin)));
    }
    in_.erase(0, begin);
    if (in_.size() > longest_) fail_run("too much");
  } catch (const RunError&) {
    closed_ = true;  // no launcher: perhaps a port scanner or a browser
  }
  return out;
}

}  // namespace vmla::launch
