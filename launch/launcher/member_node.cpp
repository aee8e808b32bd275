#include "launch/launcher/member_node.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "launch/launcher/rendezvous.h"
#include "model/io/error.h"

namespace vmla::launch {

MemberNode::MemberNode(const LaunchOptions& options, LocalNode& local)
    : options_(options), local_(local) {}

bool MemberNode::join() {
  Socket socket = connect_to(
      *options_.endpoint, options_.rendezvous_timeout, [&](std::chrono::milliseconds pause) {
        local_.wait({}, Clock::now() + pause);
        return !local_.take_signals().empty();
      });
  if (socket.fd() < 0) return false;
  link_ = std::make_unique<NodeLink>(socket.release(), Clock::now());
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  link_->send(Hello{VMLA_VERSION, options_.node, options_.nodes, options_.workers, host.data()});
  return true;
}

int MemberNode::run() {
  if (!join()) return kStopped;
  while (true) {
    const Clock::time_point now = Clock::now();
    for (const SignalSeen& signal : local_.take_signals()) link_->send(signal);
    for (const ControlMessage& message : link_->progress(now)) obey(message, now);
    see_local(now);
    check_link(now);
    if (status_ && !local_.running()) return *status_;
    std::vector<pollfd> descriptors;
    link_->wait_for(descriptors);
    local_.wait(std::move(descriptors), link_->due());
  }
}

void MemberNode::obey(const ControlMessage& message, Clock::time_point now) {
  if (const auto* order = std::get_if<StartOrder>(&message)) {
    attempt_ = order->attempt;
    local_.start(*order, /*listen_fd=*/-1);
  } else if (const auto* stop = std::get_if<StopOrder>(&message)) {
    local_.say(stop->why);
    local_.stop(now);
  } else if (const auto* finish = std::get_if<FinishOrder>(&message)) {
    local_.say(finish->why);
    local_.stop(now);
    status_ = finish->status;
  } else if (const auto* signal = std::get_if<SignalSeen>(&message)) {
    local_.forward(*signal);
  }
}

void MemberNode::see_local(Clock::time_point now) {
  const LocalNode::Ends ends = local_.progress(now);
  for (const WorkerEnd& end : ends.failed) link_->send(WorkerFailed{attempt_, end});
  if (ends.all) link_->send(NodeEnded{attempt_, ends.stopped});
}

void MemberNode::check_link(Clock::time_point now) {
  if (status_ || lost_) return;
  const bool silent = link_->silent_for(now) > options_.heartbeat_timeout;
  if (!link_->closed() && !silent) return;
  lost_ = true;
  status_ = 1;
  local_.say(formatted(
      "error: the launcher of node 0 at {}:{}{}{}",
      options_.endpoint->host,
      options_.endpoint->port,
      silent ? formatted(" has been silent for {:g} s", options_.heartbeat_timeout.count() / 1000.0)
             : std::string(" is gone"),
      local_.running() ? "; stopping the ranks here" : ""));
  local_.stop(now);
}

}  // namespace vmla::launch
