#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "trainer/distributed/job/peer_error.h"

namespace c10d {
class Store;
}

namespace vmla::distributed {

/// The job's store did not answer, or is gone; with it, as a rule, the rank that serves it.
class StoreError : public PeerError {
 public:
  StoreError(const std::string& what, bool is_gone) : PeerError(what), gone(is_gone) {}
  bool gone;  // the server refuses or has closed the connection; false: it is silent
};

/// One connection to the job's store, c10d's TCPStore: keys and values that all ranks see. A thread
/// of its own speaks to the server, so that no call waits longer than it says even when the server
/// is stopped. After a StoreError the connection is of no more use. One thread at a time may use
/// it.
class Store {
 public:
  struct Server {
    std::string host;  // name or address
    int64_t port;
  };

  /// Serves the store in this process, on a listening socket that it takes over, and connects to
  /// it. The store ends with the returned object. StoreError when `server.host` does not lead here.
  static std::unique_ptr<Store> serve(const Server& server,
                                      int socket,
                                      std::string prefix,
                                      double timeout_seconds);
  /// Connects, again and again until somebody answers; StoreError after `timeout_seconds`.
  static std::unique_ptr<Store> connect(const Server& server,
                                        std::string prefix,
                                        double timeout_seconds);
  /// Another connection to the same server, for another thread, with the same prefix. A call of it
  /// fails when the server is silent for `answer_seconds`.
  std::unique_ptr<Store> connect_again(double answer_seconds) const;
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Every key below stands behind the prefix. StoreError when the server does not answer.

  void set(const std::string& key, const std::string& value);
  /// Sets a key that does not exist; returns the value it then has.
  std::string set_if_new(const std::string& key, const std::string& value);
  /// The value, as soon as somebody has set it; nothing after `timeout_seconds`.
  std::optional<std::string> wait_for(const std::string& key, double timeout_seconds);
  /// The value of each key, nothing for one that does not exist.
  std::vector<std::optional<std::string>> find(const std::vector<std::string>& keys);
  bool check(const std::string& key);
  /// Adds to a number that starts at 0; returns the sum.
  int64_t add(const std::string& key, int64_t value);
  void erase(const std::string& key);

  const Server& server() const { return server_; }
  /// For the engines of c10d, which prefix their keys themselves. Thread-safe, may wait for ever.
  c10d::Store& engine() const;
  const std::string& prefix() const { return prefix_; }

 private:
  class Connection;
  Store(Server server, std::string prefix, std::unique_ptr<Connection> connection);

  Server server_;
  std::string prefix_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace vmla::distributed
