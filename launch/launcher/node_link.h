#pragma once

#include <poll.h>

#include <string>
#include <vector>

#include "launch/launcher/control_message.h"
#include "launch/launcher/line_coalescer.h"

namespace vmla::launch {

/// A TCP connection to another node's launcher: messages both ways, and a heartbeat a second, by
/// which a peer that has nothing to say differs from one that hangs. Nothing here blocks, and no
/// peer takes more than its share: one that sends too much or too long, or does not read, is
/// disconnected.
class NodeLink {
 public:
  /// Takes over a connected socket. A line of more than `longest` bytes ends the connection.
  NodeLink(int fd, Clock::time_point now, size_t longest = kLongestMessage);
  ~NodeLink();
  NodeLink(const NodeLink&) = delete;
  NodeLink& operator=(const NodeLink&) = delete;

  /// Sends what the socket takes now; progress() sends the rest.
  void send(const ControlMessage& message);
  /// Adds what poll() should wait for.
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// Sends what is waiting, and a heartbeat when it is due; returns the messages that have arrived.
  /// A peer that sends anything but messages is disconnected.
  std::vector<ControlMessage> progress(Clock::time_point now);
  /// When the next heartbeat is due.
  Clock::time_point due() const;

  /// From now on lines may be as long as messages are.
  void trust() { longest_ = kLongestMessage; }

  /// True at the end of the connection: the peer has closed it, or was disconnected.
  bool closed() const { return closed_; }
  Clock::duration silent_for(Clock::time_point now) const { return now - last_received_; }
  bool all_sent() const { return closed_ || out_.empty(); }

 private:
  /// Counts a message; false when there are too many in this second.
  bool is_in_time(Clock::time_point now);
  void write_some();
  void read_some(Clock::time_point now);

  int fd_;
  size_t longest_;
  bool closed_ = false;
  int64_t messages_ = 0;            // in the second that
  Clock::time_point second_began_;  // began here
  std::string in_;                  // the beginning of a line
  std::string out_;                 // not sent yet
  Clock::time_point last_received_, last_heartbeat_;
};

}  // namespace vmla::launch
