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
  /// Runs the job to its end and returns the exit status. UserError when node 0 cannot be reached.
  int run();

 private:
  /// Connects to node 0. False when a signal came first.
  bool join();
  void handle_message(const ControlMessage& message, Clock::time_point now);
  void report_local_ends(Clock::time_point now);
  /// Ends the job here when node 0's launcher is gone or silent.
  void check_link(Clock::time_point now);

  const LaunchOptions& options_;
  LocalNode& local_;
  std::unique_ptr<NodeLink> link_;  // to node 0
  int64_t attempt_ = -1;
  std::optional<int> status_;  // set: end with it when no worker is running any more
};

}  // namespace vmla::launch
