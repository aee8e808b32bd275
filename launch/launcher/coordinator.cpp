#include "launch/launcher/coordinator.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "launch/launcher/peer_proof.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

double in_seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string make_run_id() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y%m%d-%H%M%S", &local);
  return formatted("{}-{}", text.data(), getpid());
}

Coordinator::Coordinator(const LaunchOptions& options, LocalNode& local)
    : options_(options),
      local_(local),
      control_(options.nodes, options.max_restarts),
      run_id_(make_run_id()) {}

int Coordinator::run() {
  if (options_.nodes == 1) {
    control_.begin(Clock::now());
  } else {
    reception_.emplace(listen_at(*options_.endpoint),
                       options_.token,
                       [this](const std::string& line) { local_.say(line); });
    join_deadline_ = Clock::now() + options_.rendezvous_timeout;
  }
  while (true) {
    const Clock::time_point now = Clock::now();
    for (const SignalSeen& signal : local_.take_signals()) handle_signal(/*node=*/0, signal);
    receive_newcomers(now);
    read_members(now);
    report_local_ends(now);
    begin_when_complete(now);
    control_.tick(now);
    while (const auto command = control_.next()) execute(*command, now);
    if (status_) break;
    wait();
  }
  flush_members();
  return *status_;
}

void Coordinator::wait() {
  std::vector<pollfd> descriptors;
  Clock::time_point until = Clock::time_point::max();
  if (reception_) {
    reception_->wait_for(descriptors);
    until = reception_->due();
  }
  for (const auto& [node, member] : members_) {
    member.link->wait_for(descriptors);
    until = std::min(until, member.link->due());
  }
  for (const auto due : {control_.due(), join_deadline_}) {
    if (due) until = std::min(until, *due);
  }
  local_.wait(std::move(descriptors), until);
}

std::string Coordinator::reason_to_refuse(const Hello& hello) const {
  if (hello.nodes != options_.nodes) {
    return formatted(
        "--nnodes {} here, {} on node 0; give both the same", hello.nodes, options_.nodes);
  }
  if (hello.node < 1 || hello.node >= options_.nodes || hello.workers < 1) {
    return formatted("--node-rank {} with {} workers is not possible; it goes from 1 to {} there",
                     hello.node,
                     hello.workers,
                     options_.nodes - 1);
  }
  const auto taken = members_.find(hello.node);
  if (taken != members_.end()) {
    return formatted("--node-rank {} is taken by {}; each node needs its own, from 0 to {}",
                     hello.node,
                     taken->second.hello.host,
                     options_.nodes - 1);
  }
  if (!join_deadline_) return "the job is already running without this node";
  return "";
}

void Coordinator::receive_newcomers(Clock::time_point now) {
  if (!reception_) return;
  reception_->progress(
      now,
      [this](const Hello& hello) { return reason_to_refuse(hello); },
      [&](Reception::Joined joined) {
        const int64_t node = joined.hello.node;
        members_[node] = {std::move(joined.link), joined.hello};
        for (const ControlMessage& message : joined.more) handle_message(node, message, now);
      });
}

void Coordinator::read_members(Clock::time_point now) {
  std::vector<int64_t> lost;
  for (auto& [node, member] : members_) {
    for (const ControlMessage& message : member.link->progress(now)) {
      handle_message(node, message, now);
    }
    const bool is_silent = member.link->silent_for(now) > options_.heartbeat_timeout;
    if (!member.link->closed() && !is_silent) continue;
    lost.push_back(node);
    if (join_deadline_) continue;  // the job has not begun: the node may come again
    const std::string how =
        is_silent ? formatted("has been silent for {:g} s", in_seconds(options_.heartbeat_timeout))
                  : "is gone";
    control_.node_lost(
        node,
        formatted("root cause: the launcher of node {} on {} {}", node, member.hello.host, how));
  }
  for (const int64_t node : lost) members_.erase(node);
}

void Coordinator::handle_message(int64_t node,
                                 const ControlMessage& message,
                                 Clock::time_point now) {
  // What still arrives from an earlier attempt is too late.
  if (const auto* failed = std::get_if<WorkerFailed>(&message)) {
    const bool fits = failed->attempt == attempt_ && is_rank_of(node, failed->end.rank);
    if (fits) control_.worker_failed(failed->end, now);
  } else if (const auto* ended = std::get_if<NodeEnded>(&message)) {
    if (ended->attempt == attempt_) control_.node_ended(node, ended->stopped, now);
  } else if (const auto* signal = std::get_if<SignalSeen>(&message)) {
    local_.forward(*signal);
    handle_signal(node, *signal);
  }
}

bool Coordinator::is_rank_of(int64_t node, int64_t rank) const {
  const int64_t first = order_.first_rank(node);
  return first <= rank && rank < first + order_.workers_per_node[static_cast<size_t>(node)];
}

void Coordinator::report_local_ends(Clock::time_point now) {
  const LocalNode::Ends ends = local_.progress(now);
  for (const WorkerEnd& end : ends.failed) control_.worker_failed(end, now);
  if (ends.all) control_.node_ended(0, ends.stopped, now);
}

void Coordinator::handle_signal(int64_t node, const SignalSeen& signal) {
  send_to_members(signal, /*except=*/node);
  control_.stop_requested(signal.number, signal.at_once);
}

void Coordinator::begin_when_complete(Clock::time_point now) {
  if (!join_deadline_) return;
  if (static_cast<int64_t>(members_.size()) == options_.nodes - 1) {
    join_deadline_.reset();
    control_.begin(now);
  } else if (*join_deadline_ <= now) {
    fail_incomplete();
  }
}

void Coordinator::fail_incomplete() {
  std::vector<int64_t> missing;
  for (int64_t node = 1; node < options_.nodes; ++node) {
    if (!members_.contains(node)) missing.push_back(node);
  }
  const std::string problem = formatted("node {} of {} nodes did not come to {}:{} within {:g} s",
                                        rank_ranges(missing),
                                        options_.nodes,
                                        options_.endpoint->host,
                                        options_.endpoint->port,
                                        in_seconds(options_.rendezvous_timeout));
  send_to_members(FinishOrder{kWrongInput, "error: " + problem});
  flush_members();
  fail_user("{}; start vmla-launch with that --node-rank there", problem);
}

void Coordinator::execute(const JobCommand& command, Clock::time_point now) {
  local_.say(command.why);
  switch (command.kind) {
    case JobCommand::Kind::kStart:
      start(command.attempt);
      break;
    case JobCommand::Kind::kStop:
      local_.stop(now);
      send_to_members(StopOrder{command.why});
      break;
    case JobCommand::Kind::kFinish:
      send_to_members(FinishOrder{command.status, command.why});
      status_ = command.status;
      break;
  }
}

void Coordinator::start(int64_t attempt) {
  attempt_ = attempt;
  const bool is_alone = options_.nodes == 1;
  // Closed at the end of this function, when rank 0 has inherited it: then only rank 0 has the
  // port.
  const BoundPort port = bind_store_port(is_alone ? "localhost" : options_.endpoint->host);
  StartOrder order;
  order.run_id = run_id_;
  order.attempt = attempt;
  order.max_restarts = options_.max_restarts;
  order.workers_per_node = {options_.workers};
  for (const auto& [node, member] : members_) {
    order.workers_per_node.push_back(member.hello.workers);
  }
  order.master_addr = port.host;
  order.master_port = port.port;
  order_ = order;
  send_to_members(order);
  local_.start(order, port.socket.fd());
}

void Coordinator::send_to_members(const ControlMessage& message, int64_t except) {
  for (auto& [node, member] : members_) {
    if (node != except) member.link->send(message);
  }
}

void Coordinator::flush_members() {
  const Clock::time_point until = Clock::now() + std::chrono::seconds(2);
  const auto is_flushed = [&] {
    return std::ranges::all_of(members_,
                               [](const auto& entry) { return entry.second.link->all_sent(); });
  };
  while (!is_flushed() && Clock::now() < until) {
    wait();
    for (auto& [node, member] : members_) member.link->progress(Clock::now());
  }
}

}  // namespace vmla::launch
