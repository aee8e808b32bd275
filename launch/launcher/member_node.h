#pragma once

#include <memory>
#include <optional>

#include "launch/launcher/launch_options.h"
#include "launch/launcher/local_node.h"
#include "launch/launcher/node_link.h"

namespace vmla::launch {

/// The launcher of a node other than 0: does here what node 0 says, and tells it what happens.
class MemberNode {
 public:
  MemberNode(const LaunchOptions& options, LocalNode& local);
  /// Runs the job to its end and returns the exit status. UserError when node 0 cannot be reached.
  int run();

 private:
  /// False when a signal came first.
  bool join();
  void obey(const ControlMessage& message, Clock::time_point now);
  void see_local(Clock::time_point now);
  void check_link(Clock::time_point now);

  const LaunchOptions& options_;
  LocalNode& local_;
  std::unique_ptr<NodeLink> link_;
  int64_t attempt_ = -1;
  bool lost_ = false;  // node 0
  std::optional<int> status_;
};

}  // namespace vmla::launch
