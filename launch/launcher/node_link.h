#pragma once

#include <poll.h>

#include <string>
#include <vector>

#include "launch/launcher/control_message.h"
#include "launch/launcher/line_coalescer.h"

namespace vmla::launch {

/// A connection to another node's launcher. Nothing here blocks.
class NodeLink {
 public:
  /// Takes over a connected socket.
  NodeLink(int fd, Clock::time_point now);
  ~NodeLink();
  NodeLink(const NodeLink&) = delete;
  NodeLink& operator=(const NodeLink&) = delete;

  void send(const ControlMessage& message);
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// Writes what it can, a heartbeat if it is time for one, and returns what has come. A peer that
  /// sends anything else than messages is disconnected.
  std::vector<ControlMessage> progress(Clock::time_point now);
  /// When the next heartbeat is due.
  Clock::time_point due() const;

  /// The peer has gone, or its machine has.
  bool closed() const { return closed_; }
  Clock::duration silent_for(Clock::time_point now) const { return now - heard_; }
  bool all_sent() const { return closed_ || out_.empty(); }

 private:
  void write_some();
  void read_some(Clock::time_point now);

  int fd_;
  bool closed_ = false;
  std::string in_, out_;
  Clock::time_point heard_, beaten_;
};

}  // namespace vmla::launch
