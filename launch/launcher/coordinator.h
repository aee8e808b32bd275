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
#include "launch/launcher/rendezvous.h"

namespace vmla::launch {

/// The launcher of node 0, and the only one on one node: gathers the others, and carries out what
/// the job's control decides, here and there.
class Coordinator {
 public:
  Coordinator(const LaunchOptions& options, LocalNode& local);
  /// Runs the job to its end and returns the exit status. UserError when a node does not come.
  int run();

 private:
  void accept_newcomers(Clock::time_point now);
  void hear_newcomers(Clock::time_point now);
  /// Why this hello cannot be taken; "" if it can.
  std::string objection(const Hello& hello) const;
  void hear_members(Clock::time_point now);
  void hear(int64_t node, const ControlMessage& message, Clock::time_point now);
  void see_local(Clock::time_point now);
  void see_signal(const SignalSeen& signal, int64_t from);
  void check_gathering(Clock::time_point now);
  void carry_out(const JobCommand& command, Clock::time_point now);
  void start(int64_t attempt);
  void tell_all(const ControlMessage& message, int64_t except = -1);
  void wait();
  void say_goodbye();

  const LaunchOptions& options_;
  LocalNode& local_;
  JobControl control_;
  Socket listener_;
  struct Member {
    std::unique_ptr<NodeLink> link;
    Hello hello;
  };
  std::map<int64_t, Member> members_;                   // by node
  std::vector<std::unique_ptr<NodeLink>> newcomers_;    // that have not said hello
  std::vector<std::unique_ptr<NodeLink>> turned_away_;  // that still have to read why
  std::optional<Clock::time_point> gather_until_;       // none: all are there
  std::string run_id_;
  int64_t attempt_ = -1;
  std::optional<int> status_;
};

/// "20261121-162205-4711": the time and this process, so that runs are sorted and apart.
std::string make_run_id();

}  // namespace vmla::launch
