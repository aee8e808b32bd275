#pragma once

#include <memory>
#include <optional>

#include "launch/launcher/launch_options.h"
#include "launch/launcher/local_node.h"
#include "launch/launcher/node_link.h"

namespace vmla::launch {

/// The launcher of a node other than 0: executes the orders of node 0's launcher, and tells it what
/// happens here. Decides by itself only when that launcher is lost: then it stops its workers.
class MemberNode {
 public:
  MemberNode(const LaunchOptions& options, LocalNode& local);
  /// Runs the job to its end and returns the exit status. UserError when node 0 cannot be reached,
  /// or does not have this job's token.
  int run();

 private:
  /// How far this node has come in.
  enum class State { kGreeting, kProving, kJoined };
  /// Connects to node 0. False when a signal came first.
  bool connect();
  void handle_message(const ControlMessage& message, Clock::time_point now);
  /// Before it has joined: answers the challenge, and checks that node 0 has the token too.
  /// UserError where one of them has none, or another.
  void answer(const Challenge& challenge);
  void check(const Welcome& welcome) const;
  void start(const StartOrder& order);
  /// Why the order cannot be one of this job's; "" if it can.
  std::string doubt(const StartOrder& order) const;
  void finish(const FinishOrder& order, Clock::time_point now);
  void report_local_ends(Clock::time_point now);
  /// Ends the job here when node 0's launcher is gone or silent.
  void check_link(Clock::time_point now);

  const LaunchOptions& options_;
  LocalNode& local_;
  std::unique_ptr<NodeLink> link_;  // to node 0
  State state_ = State::kGreeting;
  Clock::time_point connected_;
  std::string challenge_;  // node 0's nonce
  Hello hello_;            // as it was sent
  int64_t attempt_ = -1;
  std::optional<int> status_;  // set: end with it when no worker is running any more
};

}  // namespace vmla::launch
