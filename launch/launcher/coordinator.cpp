#include "launch/launcher/coordinator.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "model/io/error.h"

namespace vmla::launch {

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
    listener_ = listen_at(*options_.endpoint);
    gather_until_ = Clock::now() + options_.rendezvous_timeout;
  }
  while (true) {
    const Clock::time_point now = Clock::now();
    for (const SignalSeen& signal : local_.take_signals()) see_signal(signal, /*from=*/0);
    accept_newcomers(now);
    hear_newcomers(now);
    hear_members(now);
    see_local(now);
    check_gathering(now);
    control_.tick(now);
    while (const auto command = control_.next()) carry_out(*command, now);
    if (status_) break;
    wait();
  }
  say_goodbye();
  return *status_;
}

void Coordinator::wait() {
  std::vector<pollfd> descriptors;
  Clock::time_point until = Clock::time_point::max();
  if (listener_.fd() >= 0) descriptors.push_back({listener_.fd(), POLLIN, 0});
  const auto add = [&](const NodeLink& link) {
    link.wait_for(descriptors);
    until = std::min(until, link.due());
  };
  for (const auto& [node, member] : members_) add(*member.link);
  for (const auto& link : newcomers_) add(*link);
  for (const auto& link : turned_away_) add(*link);
  for (const auto due : {control_.due(), gather_until_}) {
    if (due) until = std::min(until, *due);
  }
  local_.wait(std::move(descriptors), until);
}

void Coordinator::accept_newcomers(Clock::time_point now) {
  if (listener_.fd() < 0) return;
  for (int fd; (fd = accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
    newcomers_.push_back(std::make_unique<NodeLink>(fd, now));
  }
}

std::string Coordinator::objection(const Hello& hello) const {
  if (hello.version != VMLA_VERSION) {
    return formatted(
        "version {} here, {} on node 0; install the same", hello.version, VMLA_VERSION);
  }
  if (hello.nodes != options_.nodes) {
    return formatted(
        "--nnodes {} here, {} on node 0; give both the same", hello.nodes, options_.nodes);
  }
  if (hello.node < 1 || hello.node >= options_.nodes || hello.workers < 1) {
    return formatted(
        "--node-rank {} with {} workers makes no sense here", hello.node, hello.workers);
  }
  const auto taken = members_.find(hello.node);
  if (taken != members_.end()) {
    return formatted("--node-rank {} is taken by {}; each node needs its own, from 0 to {}",
                     hello.node,
                     taken->second.hello.host,
                     options_.nodes - 1);
  }
  if (!gather_until_) return "the job is already running without this node";
  return "";
}

void Coordinator::hear_newcomers(Clock::time_point now) {
  for (auto& link : newcomers_) {
    const std::vector<ControlMessage> messages = link->progress(now);
    if (messages.empty()) continue;
    const auto* const hello = std::get_if<Hello>(&messages.front());
    if (hello == nullptr) continue;
    const std::string problem = objection(*hello);
    if (!problem.empty()) {
      local_.say(formatted("turned away a launcher on {}: {}", hello->host, problem));
      link->send(FinishOrder{kWrongInput, "error: " + problem});
      turned_away_.push_back(std::move(link));
      continue;
    }
    members_[hello->node] = {std::move(link), *hello};
    for (const ControlMessage& message : messages) hear(hello->node, message, now);
  }
  const auto is_done = [&](const std::unique_ptr<NodeLink>& link) {
    return link == nullptr || link->closed() || link->silent_for(now) > options_.heartbeat_timeout;
  };
  std::erase_if(newcomers_, is_done);
  for (const auto& link : turned_away_) link->progress(now);
  std::erase_if(turned_away_, is_done);
}

void Coordinator::hear_members(Clock::time_point now) {
  std::vector<int64_t> gone;
  for (auto& [node, member] : members_) {
    for (const ControlMessage& message : member.link->progress(now)) hear(node, message, now);
    const bool silent = member.link->silent_for(now) > options_.heartbeat_timeout;
    if (!member.link->closed() && !silent) continue;
    gone.push_back(node);
    if (gather_until_) continue;  // it may come again
    control_.node_lost(node,
                       formatted("root cause: the launcher of node {} on {}{}",
                                 node,
                                 member.hello.host,
                                 silent ? formatted(" has been silent for {:g} s",
                                                    options_.heartbeat_timeout.count() / 1000.0)
                                        : std::string(" is gone")));
  }
  for (const int64_t node : gone) members_.erase(node);
}

void Coordinator::hear(int64_t node, const ControlMessage& message, Clock::time_point now) {
  if (const auto* failed = std::get_if<WorkerFailed>(&message)) {
    if (failed->attempt == attempt_) control_.worker_failed(failed->end, now);
  } else if (const auto* ended = std::get_if<NodeEnded>(&message)) {
    if (ended->attempt == attempt_) control_.node_ended(node, ended->stopped, now);
  } else if (const auto* signal = std::get_if<SignalSeen>(&message)) {
    local_.forward(*signal);
    see_signal(*signal, node);
  }
}

void Coordinator::see_local(Clock::time_point now) {
  const LocalNode::Ends ends = local_.progress(now);
  for (const WorkerEnd& end : ends.failed) control_.worker_failed(end, now);
  if (ends.all) control_.node_ended(0, ends.stopped, now);
}

void Coordinator::see_signal(const SignalSeen& signal, int64_t from) {
  tell_all(signal, from);
  control_.stop_requested(signal.number, signal.at_once);
}

void Coordinator::check_gathering(Clock::time_point now) {
  if (!gather_until_) return;
  if (static_cast<int64_t>(members_.size()) == options_.nodes - 1) {
    gather_until_.reset();
    control_.begin(now);
    return;
  }
  if (*gather_until_ > now) return;
  std::vector<int64_t> missing;
  for (int64_t node = 1; node < options_.nodes; ++node) {
    if (!members_.contains(node)) missing.push_back(node);
  }
  const std::string problem = formatted("node {} of {} nodes did not come to {}:{} within {:g} s",
                                        rank_ranges(missing),
                                        options_.nodes,
                                        options_.endpoint->host,
                                        options_.endpoint->port,
                                        options_.rendezvous_timeout.count() / 1000.0);
  tell_all(FinishOrder{kWrongInput, "error: " + problem});
  say_goodbye();
  fail_user("{}; start vmla-launch with that --node-rank there", problem);
}

void Coordinator::carry_out(const JobCommand& command, Clock::time_point now) {
  local_.say(command.why);
  switch (command.kind) {
    case JobCommand::Kind::kStart:
      start(command.attempt);
      break;
    case JobCommand::Kind::kStop:
      local_.stop(now);
      tell_all(StopOrder{command.why});
      break;
    case JobCommand::Kind::kFinish:
      tell_all(FinishOrder{command.status, command.why});
      status_ = command.status;
      break;
  }
}

void Coordinator::start(int64_t attempt) {
  attempt_ = attempt;
  const bool alone = options_.nodes == 1;
  const BoundPort port = bind_store_port(/*loopback=*/alone);
  StartOrder order;
  order.run_id = run_id_;
  order.attempt = attempt;
  order.max_restarts = options_.max_restarts;
  order.workers_per_node = {options_.workers};
  for (const auto& [node, member] : members_)
    order.workers_per_node.push_back(member.hello.workers);
  order.master_addr = alone ? "127.0.0.1" : options_.endpoint->host;
  order.master_port = port.port;
  tell_all(order);
  local_.start(order, port.socket.fd());  // our copy is closed then: only rank 0 has the port
}

void Coordinator::tell_all(const ControlMessage& message, int64_t except) {
  for (auto& [node, member] : members_) {
    if (node != except) member.link->send(message);
  }
}

// The others must have read why before the connection closes.
void Coordinator::say_goodbye() {
  const Clock::time_point until = Clock::now() + std::chrono::seconds(2);
  const auto waiting = [&] {
    return std::any_of(members_.begin(), members_.end(), [](const auto& entry) {
      return !entry.second.link->all_sent();
    });
  };
  while (waiting() && Clock::now() < until) {
    wait();
    for (auto& [node, member] : members_) member.link->progress(Clock::now());
  }
}

}  // namespace vmla::launch
