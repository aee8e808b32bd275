#pragma once

#include <poll.h>

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "launch/launcher/control_message.h"
#include "launch/launcher/node_link.h"
#include "launch/launcher/node_rendezvous.h"

namespace vmla::launch {

/// Where node 0's launcher lets the others in: it challenges whoever connects, and hands out those
/// that answer as they should. Who does not answer, says something else or cannot join is
/// disconnected; a crowd of strangers does not keep others out. Nothing here blocks.
class Reception {
 public:
  /// Shows a line of the launcher's own.
  using Say = std::function<void(const std::string& line)>;
  /// Why the node that said `hello` cannot join; "" if it can.
  using ReasonToRefuse = std::function<std::string(const Hello& hello)>;

  /// `token`: the job's (peer_proof.h), "" for none.
  Reception(Socket listener, std::string token, Say say);

  /// A node that has joined, with what it has said since its hello.
  struct Joined {
    std::unique_ptr<NodeLink> link;
    Hello hello;
    std::vector<ControlMessage> more;
  };
  /// Goes on with all conversations. `reason_to_refuse` is asked for each node before the next one
  /// joins, so that it can count those that have.
  void progress(Clock::time_point now,
                const ReasonToRefuse& reason_to_refuse,
                const std::function<void(Joined)>& join);

  /// Adds what poll() should wait for.
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// When progress() has something to do without a descriptor being ready.
  Clock::time_point due() const;

 private:
  /// Somebody who has connected.
  struct Newcomer {
    std::unique_ptr<NodeLink> link;
    std::string address;  // numeric
    std::string nonce;    // of the challenge
    Clock::time_point since;
    bool refused = false;  // has been told why, and is to read it
  };

  void accept_some(Clock::time_point now);
  /// Makes room: of the address with the most newcomers, the one that has been there for longest
  /// goes.
  void drop_one();
  /// What `newcomer` says: true when it has joined, and is to be forgotten here.
  bool listen_to(Newcomer& newcomer,
                 Clock::time_point now,
                 const ReasonToRefuse& reason_to_refuse,
                 const std::function<void(Joined)>& join);
  /// Why a hello is no right answer to the challenge; "" if it is.
  std::string doubt(const Newcomer& newcomer, const Hello& hello) const;
  void refuse(Newcomer& newcomer, const std::string& who, const std::string& why);

  Socket listener_;
  std::string token_;
  Say say_;
  std::list<Newcomer> newcomers_;  // oldest first
  int refusals_said_ = 0;
};

}  // namespace vmla::launch
