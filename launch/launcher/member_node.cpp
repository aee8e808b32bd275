#include "launch/launcher/member_node.h"

#include <utility>

#include "launch/launcher/host_name.h"
#include "launch/launcher/node_rendezvous.h"
#include "launch/launcher/peer_proof.h"
#include "model/io/error.h"

namespace vmla::launch {

MemberNode::MemberNode(const LaunchOptions& options, LocalNode& local)
    : options_(options), local_(local) {}

bool MemberNode::connect() {
  const auto wait_for_signal = [&](std::chrono::milliseconds pause) {
    local_.wait({}, Clock::now() + pause);
    return !local_.take_signals().empty();
  };
  Socket socket = connect_to(*options_.endpoint, options_.rendezvous_timeout, wait_for_signal);
  if (socket.fd() < 0) return false;
  connected_ = Clock::now();
  link_ = std::make_unique<NodeLink>(socket.release(), connected_);
  return true;
}

int MemberNode::run() {
  if (!connect()) return kStopped;
  while (true) {
    const Clock::time_point now = Clock::now();
    for (const SignalSeen& signal : local_.take_signals()) {
      if (state_ != State::kJoined) return kStopped;
      link_->send(signal);
    }
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
  if (const auto* order = std::get_if<FinishOrder>(&message)) return finish(*order, now);
  if (state_ != State::kJoined) {
    if (const auto* challenge = std::get_if<Challenge>(&message)) answer(*challenge);
    if (const auto* welcome = std::get_if<Welcome>(&message)) check(*welcome);
    if (std::holds_alternative<Welcome>(message)) state_ = State::kJoined;
    return;  // whoever has not proved anything orders nothing
  }
  if (const auto* order = std::get_if<StartOrder>(&message)) {
    start(*order);
  } else if (const auto* stop = std::get_if<StopOrder>(&message)) {
    local_.say(stop->why);
    local_.stop(now);
  } else if (const auto* signal = std::get_if<SignalSeen>(&message)) {
    local_.forward(*signal);
  }
}

void MemberNode::answer(const Challenge& challenge) {
  if (state_ != State::kGreeting) return;
  const std::string where = formatted("{}:{}", options_.endpoint->host, options_.endpoint->port);
  if (challenge.guarded && options_.token.empty()) {
    fail_user("node 0 at {} asks for a token; give its --rdzv-token-file here too (or {})",
              where,
              kTokenVariable);
  }
  if (!challenge.guarded && !options_.token.empty()) {
    fail_user("node 0 at {} has no token, and this node has one; give it to all nodes", where);
  }
  challenge_ = challenge.nonce;
  hello_ = {.version = VMLA_VERSION,
            .node = options_.node,
            .nodes = options_.nodes,
            .workers = options_.workers,
            .host = host_name(),
            .nonce = random_nonce()};
  hello_.proof = member_proof(options_.token, challenge_, hello_);
  link_->send(hello_);
  state_ = State::kProving;
}

void MemberNode::check(const Welcome& welcome) const {
  const std::string right = coordinator_proof(options_.token, challenge_, hello_.nonce);
  if (state_ == State::kProving && same_proof(welcome.proof, right)) return;
  fail_user("who answers at {}:{} does not have this job's token; it is not this job's node 0",
            options_.endpoint->host,
            options_.endpoint->port);
}

std::string MemberNode::doubt(const StartOrder& order) const {
  if (order.attempt <= attempt_ || local_.running()) return "it starts what was started already";
  if (static_cast<int64_t>(order.workers_per_node.size()) != options_.nodes) {
    return formatted("it is for {} nodes", order.workers_per_node.size());
  }
  const int64_t workers = order.workers_per_node[static_cast<size_t>(options_.node)];
  if (workers == options_.workers) return "";
  return formatted("it counts {} processes here", workers);
}

void MemberNode::start(const StartOrder& order) {
  if (const std::string why = doubt(order); !why.empty()) {
    fail_run("an order of node 0 does not fit this job: {}", why);
  }
  attempt_ = order.attempt;
  local_.start(order, /*listen_fd=*/-1);
}

void MemberNode::finish(const FinishOrder& order, Clock::time_point now) {
  local_.say(order.why);
  local_.stop(now);
  // Node 0 can refuse a node, but not end a job well that has not begun.
  status_ = state_ == State::kJoined ? order.status : kWrongInput;
}

void MemberNode::report_local_ends(Clock::time_point now) {
  const LocalNode::Ends ends = local_.progress(now);
  for (const WorkerEnd& end : ends.failed) link_->send(WorkerFailed{attempt_, end});
  if (ends.all) link_->send(NodeEnded{attempt_, ends.stopped});
}

void MemberNode::check_link(Clock::time_point now) {
  if (status_) return;
  const bool is_late = state_ != State::kJoined && now - connected_ > options_.heartbeat_timeout;
  const bool is_silent = is_late || link_->silent_for(now) > options_.heartbeat_timeout;
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
