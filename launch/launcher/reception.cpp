#include "launch/launcher/reception.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "launch/launcher/peer_proof.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"

namespace vmla::launch {
namespace {

// Newcomers at once. A right one answers within one round trip.
constexpr size_t kMostNewcomers = 256;
// Connections that are taken in one turn: fewer than there is room for, so that whoever has just
// come is heard before somebody else takes its place.
constexpr int kMostInATurn = 32;
// A newcomer that has not joined by then goes.
constexpr std::chrono::seconds kPatience{10};
// A stranger has little to say.
constexpr size_t kLongestHello = 4096;
// A crowd of strangers must not fill the terminal.
constexpr int kMostSaid = 10;

std::string numeric_address(const sockaddr_storage& address, socklen_t size) {
  std::array<char, NI_MAXHOST> text{};
  const auto* const plain = reinterpret_cast<const sockaddr*>(&address);
  const int failed = getnameinfo(plain, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return failed == 0 ? text.data() : "?";
}

}  // namespace

Reception::Reception(Socket listener, std::string token, Say say)
    : listener_(std::move(listener)), token_(std::move(token)), say_(std::move(say)) {}

void Reception::accept_some(Clock::time_point now) {
  for (int turn = 0; turn < kMostInATurn; ++turn) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    const int fd = accept4(listener_.fd(), plain, &size, SOCK_CLOEXEC);
    if (fd < 0) return;
    if (newcomers_.size() >= kMostNewcomers) drop_one();
    newcomers_.push_back({.link = std::make_unique<NodeLink>(fd, now, kLongestHello),
                          .address = numeric_address(address, size),
                          .nonce = random_nonce(),
                          .since = now});
    const Newcomer& newcomer = newcomers_.back();
    newcomer.link->send(Challenge{!token_.empty(), newcomer.nonce});
  }
}

void Reception::drop_one() {
  std::map<std::string, int> count;
  for (const Newcomer& newcomer : newcomers_) ++count[newcomer.address];
  const auto most = std::ranges::max_element(
      count, [](const auto& a, const auto& b) { return a.second < b.second; });
  newcomers_.erase(std::ranges::find(newcomers_, most->first, &Newcomer::address));
}

void Reception::progress(Clock::time_point now,
                         const ReasonToRefuse& reason_to_refuse,
                         const std::function<void(Joined)>& join) {
  if (listener_.fd() < 0) return;
  accept_some(now);
  for (auto newcomer = newcomers_.begin(); newcomer != newcomers_.end();) {
    const bool joined = listen_to(*newcomer, now, reason_to_refuse, join);
    const bool is_over = joined || newcomer->link->closed() || now - newcomer->since > kPatience;
    newcomer = is_over ? newcomers_.erase(newcomer) : std::next(newcomer);
  }
}

bool Reception::listen_to(Newcomer& newcomer,
                          Clock::time_point now,
                          const ReasonToRefuse& reason_to_refuse,
                          const std::function<void(Joined)>& join) {
  std::vector<ControlMessage> messages = newcomer.link->progress(now);
  if (newcomer.refused) return false;
  std::erase_if(messages, [](const ControlMessage& message) {
    return std::holds_alternative<Heartbeat>(message);
  });
  if (messages.empty()) return false;
  const auto* const first = std::get_if<Hello>(&messages.front());
  if (first == nullptr) {
    refuse(newcomer, newcomer.address, "it does not say who it is");
    return false;
  }
  const Hello hello = *first;
  if (const std::string why = doubt(newcomer, hello); !why.empty()) {
    refuse(newcomer, newcomer.address, why);
    return false;
  }
  if (const std::string why = reason_to_refuse(hello); !why.empty()) {
    refuse(newcomer, hello.host, why);
    return false;
  }
  newcomer.link->trust();
  newcomer.link->send(Welcome{coordinator_proof(token_, newcomer.nonce, hello.nonce)});
  messages.erase(messages.begin());
  join({std::move(newcomer.link), hello, std::move(messages)});
  return true;
}

std::string Reception::doubt(const Newcomer& newcomer, const Hello& hello) const {
  if (hello.version != VMLA_VERSION) {
    return formatted(
        "version {} here, {} on node 0; install the same", hello.version, VMLA_VERSION);
  }
  const std::string right = member_proof(token_, newcomer.nonce, hello);
  if (same_proof(hello.proof, right)) return "";
  return token_.empty() ? "there is a token here, and none on node 0; give it to all"
                        : "the token here is not that of node 0; give the same to all";
}

void Reception::refuse(Newcomer& newcomer, const std::string& who, const std::string& why) {
  if (refusals_said_ <= kMostSaid) {
    const bool is_last = ++refusals_said_ > kMostSaid;
    say_(is_last ? "refused more launchers; those that follow are not shown"
                 : formatted("refused the launcher on {}: {}", who, why));
  }
  newcomer.link->send(FinishOrder{kWrongInput, "error: " + why});
  newcomer.refused = true;
}

void Reception::wait_for(std::vector<pollfd>& descriptors) const {
  if (listener_.fd() >= 0) descriptors.push_back({listener_.fd(), POLLIN, 0});
  for (const Newcomer& newcomer : newcomers_) newcomer.link->wait_for(descriptors);
}

Clock::time_point Reception::due() const {
  Clock::time_point out = Clock::time_point::max();
  for (const Newcomer& newcomer : newcomers_) out = std::min(out, newcomer.link->due());
  return out;
}

}  // namespace vmla::launch
