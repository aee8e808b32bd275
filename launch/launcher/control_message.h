#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "launch/launcher/root_cause.h"
#include "launch/launcher/worker_environment.h"

/// What the launchers of several nodes tell each other: one line of JSON a message, over TCP. The
/// launcher of every other node talks with that of node 0, and with no other.
namespace vmla::launch {

/// From node 0, the first message on a connection.
struct Challenge {
  bool guarded = false;  // the job has a token (peer_proof.h)
  std::string nonce;     // random: no proof fits two connections
};

/// To node 0, the answer of a node that joins.
struct Hello {
  std::string version;  // of vmla-launch; must be node 0's
  int64_t node = 0;
  int64_t nodes = 0;
  int64_t workers = 0;  // on this node
  std::string host;
  std::string nonce = "";  // what node 0 has to prove something about
  std::string proof = "";  // that this launcher has the job's token; empty without one
};

/// From node 0: the node has joined.
struct Welcome {
  std::string proof;  // that node 0 has the job's token; empty without one
};

/// In both directions, once a second: the sender is alive.
struct Heartbeat {};

/// To node 0: a worker has failed.
struct WorkerFailed {
  int64_t attempt = 0;
  WorkerEnd end;
};

/// To node 0: all workers of the node have ended.
struct NodeEnded {
  int64_t attempt = 0;
  bool stopped = false;  // at least one of them with status 75
};

/// In both directions: a launcher has received a signal. The receiver of this message passes it on
/// to its own workers, or kills them.
struct SignalSeen {
  int number = 0;
  bool at_once = false;  // kill the workers: it is the second SIGINT
};

/// From node 0: stop the workers, if any are running.
struct StopOrder {
  std::string why;  // shown to the user; may be empty
};

/// From node 0: the launcher ends, with this status.
struct FinishOrder {
  int status = 0;
  std::string why;  // shown to the user; may be empty
};

/// Any of these, or StartOrder (worker_environment.h), which comes from node 0.
using ControlMessage = std::variant<Challenge,
                                    Hello,
                                    Welcome,
                                    Heartbeat,
                                    StartOrder,
                                    WorkerFailed,
                                    NodeEnded,
                                    SignalSeen,
                                    StopOrder,
                                    FinishOrder>;

/// No message's line is longer, in bytes.
inline constexpr size_t kLongestMessage = size_t{64} << 10;

/// One line, without the line feed.
std::string encode(const ControlMessage& message);
/// RunError, in one printable line, if `line` is too long, is no JSON, has an unknown type, lacks a
/// member, or has one of another type or beyond its bounds: the comments in the source say which.
/// Members that are not known are passed over, so that the version in the Hello of a newer launcher
/// can be read and objected to. Texts are as they were sent: to be shown with printable().
ControlMessage decode(const std::string& line);

}  // namespace vmla::launch
