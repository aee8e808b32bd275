#include "launch/launcher/member_node.h"

#include <utility>

#include "launch/launcher/host_name.h"
#include "launch/launcher/node_rendezvous.h"
#include "model/io/error.h"

namespace vmla::launch {

MemberNode::MemberNode(const LaunchOptions& options, LocalNode& local)
    : options_(options), local_(local) {}

bool MemberNode::join() {
  const auto wait_for_signal = [&](std::chrono::milliseconds pause) {
    local_.wait({}, Clock::now() + pause);
    return !local_.take_signals().empty();
  };
  Socket socket = connect_to(*options_.endpoint, options_.rendezvous_timeout, wait_for_signal);
  if (socket.fd() < 0) return false;
  link_ = std::make_unique<NodeLink>(socket.release(), Clock::now());
  link_->send(Hello{.version = VMLA_VERSION,
                    .node = options_.node,
                    .nodes = options_.nodes,
                    .workers = options_.workers,
                    .host = host_name()});
  return true;
}

int MemberNode::run() {
  if (!join()) return kStopped;
  while (true) {
    const Clock::time_point now = Clock::now();
    for (const SignalSeen& signal : local_.take_signals()) link_->send(signal);
    for (const ControlMessage& message : link_->progress(now)) handle_message(message, now);
    report_local_ends(now);
    check_link(now);
    if (status_ && !local_.running()) return *status_;
    std::vector<pollfd> descriptors;
    link_->wait_for(descriptors);
    local_.wait(std::move(descriptors), link_->due());
  }
}

void MemberNode::handle_message(const ControlMessage& message, Clock::time_point now) {
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

void MemberNode::report_local_ends(Clock::time_point now) {
  const LocalNode::Ends ends = local_.progress(now);
  for (const WorkerEnd& end : ends.failed) link_->send(WorkerFailed{attempt_, end});
  if (ends.all) link_->send(NodeEnded{attempt_, ends.stopped});
}

void MemberNode::check_link(Clock::time_point now) {
  if (status_) return;
  const bool is_silent = link_->silent_for(now) > options_.heartbeat_timeout;
  if (!link_->closed() && !is_silent) return;
  const double timeout = std::chrono::duration<double>(options_.heartbeat_timeout).count();
  local_.say(formatted("error: the launcher of node 0 at {}:{} {}{}",
                       options_.endpoint->host,
                       options_.endpoint->port,
                       is_silent ? formatted("has been silent for {:g} s", timeout) : "is gone",
                       local_.running() ? "; stopping the ranks here" : ""));
  status_ = kFault;
  local_.stop(now);
}

}  // namespace vmla::launch
