#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher/job_control.h"
#include "launch/launcher/launch_options.h"
#include "launch/launcher/local_node.h"
#include "launch/launcher/node_link.h"
#include "launch/launcher/reception.h"

namespace vmla::launch {

/// The launcher of node 0, and the only one of a job on one node. It waits until the launchers of
/// all other nodes (the members) have connected, reports what happens anywhere to JobControl, and
/// executes JobControl's commands here and on every member. One thread, one loop.
class Coordinator {
 public:
  Coordinator(const LaunchOptions& options, LocalNode& local);
  /// Runs the job to its end and returns the exit status. UserError when a node does not come.
  int run();

 private:
  /// A node that has joined.
  struct Member {
    std::unique_ptr<NodeLink> link;
    Hello hello;
  };

  // What a turn of the loop looks at, in this order.
  void receive_newcomers(Clock::time_point now);
  void read_members(Clock::time_point now);
  void report_local_ends(Clock::time_point now);
  void begin_when_complete(Clock::time_point now);
  void wait();

  /// Why the node that said `hello` cannot join; "" if it can.
  std::string reason_to_refuse(const Hello& hello) const;
  void handle_message(int64_t node, const ControlMessage& message, Clock::time_point now);
  /// Whether the rank runs on the node.
  bool is_rank_of(int64_t node, int64_t rank) const;
  /// `node` is where the signal came in: all others have to be told.
  void handle_signal(int64_t node, const SignalSeen& signal);
  [[noreturn]] void fail_incomplete();

  void execute(const JobCommand& command, Clock::time_point now);
  void start(int64_t attempt);
  void send_to_members(const ControlMessage& message, int64_t except = -1);
  /// Waits, for two seconds at most, until everything has been sent to the members: closing the
  /// connections earlier could lose the line that says why the job ends.
  void flush_members();

  const LaunchOptions& options_;
  LocalNode& local_;
  JobControl control_;
  std::string run_id_;
  std::optional<Reception> reception_;  // not on one node
  // Set while nodes are missing: until then they may come.
  std::optional<Clock::time_point> join_deadline_;
  std::map<int64_t, Member> members_;  // by node, from 1
  StartOrder order_;                   // of this attempt
  int64_t attempt_ = -1;
  std::optional<int> status_;
};

/// "20261121-162205-4711": local time and process id, so that the log folders of runs sort by time
/// and no two are the same.
std::string make_run_id();

}  // namespace vmla::launch
