#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "launch/launcher/root_cause.h"
#include "launch/launcher/worker_environment.h"

/// What the launchers of several nodes tell each other: a line of JSON each, over TCP. Every other
/// node speaks with node 0.
namespace vmla::launch {

/// The first line of a node that joins.
struct Hello {
  std::string version;  // must be node 0's
  int64_t node = 0;
  int64_t nodes = 0;
  int64_t workers = 0;
  std::string host;
};
/// Both ways, once a second.
struct Heartbeat {};
/// To node 0: a worker has failed.
struct WorkerFailed {
  int64_t attempt = 0;
  WorkerEnd end;
};
/// To node 0: all workers of the node have ended.
struct NodeEnded {
  int64_t attempt = 0;
  bool stopped = false;  // one of them with status 75
};
/// Both ways: the launcher has got a signal, to be passed on to the workers; `at_once`: to kill
/// them.
struct SignalSeen {
  int number = 0;
  bool at_once = false;
};
/// From node 0: end the workers, if they run. `why` is to be said.
struct StopOrder {
  std::string why;
};
/// From node 0: the launcher ends with this status.
struct FinishOrder {
  int status = 0;
  std::string why;
};

/// StartOrder (worker_environment.h) comes from node 0.
using ControlMessage = std::variant<Hello,
                                    Heartbeat,
                                    StartOrder,
                                    WorkerFailed,
                                    NodeEnded,
                                    SignalSeen,
                                    StopOrder,
                                    FinishOrder>;

/// One line without its end.
std::string encode(const ControlMessage& message);
/// RunError if the line is no message.
ControlMessage decode(const std::string& line);

}  // namespace vmla::launch
