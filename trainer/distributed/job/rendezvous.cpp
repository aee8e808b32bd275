#include "trainer/distributed/job/rendezvous.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <vector>

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/distributed/job/clock.h"
#include "trainer/distributed/job/host_voice.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

/// The time that a call has left, of what it may take in all.
class Deadline {
 public:
  explicit Deadline(double seconds) : seconds_(seconds) {}
  /// Never 0, which would not even look.
  double left() const { return std::max(0.01, seconds_ - seconds_since(start_)); }

 private:
  double seconds_;
  Clock::time_point start_ = Clock::now();
};

std::string quoted(const std::string& text) {
  constexpr size_t kShown = 120;
  return formatted("'{}{}'", text.substr(0, kShown), text.size() > kShown ? "..." : "");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// How rank `rank`'s value differs from rank 0's; empty when both are equal.
std::string difference(const AgreedValue& mine, int64_t rank, const std::string& of_rank_0) {
  if (mine.value == of_rank_0) return {};
  const std::string who =
      formatted("rank {} on host {} has another {} than rank 0", rank, host_name(), mine.name);
  const std::vector<std::string> here = lines_of(mine.value), there = lines_of(of_rank_0);
  if (here.size() <= 1 && there.size() <= 1)
    return formatted(
        "{}: {}, rank 0 has {}; start all ranks alike", who, quoted(mine.value), quoted(of_rank_0));
  size_t line = 0;
  while (line < here.size() && line < there.size() && here[line] == there[line]) ++line;
  const auto at = [line](const std::vector<std::string>& lines) {
    return line < lines.size() ? quoted(lines[line]) : "nothing";
  };
  return formatted("{}: line {} is {}, rank 0 has {}; start all ranks alike",
                   who,
                   line + 1,
                   at(here),
                   at(there));
}

Store::Server server_of(const RankEnvironment& environment) {
  return {environment.master_addr, environment.master_port};
}

/// The listening socket that rank 0 serves the store on.
int listening_socket(const RankEnvironment& environment) {
  if (environment.listen_fd < 0) return listen_on(environment.master_port, environment.master_addr);
  if (listen_on_inherited(environment.listen_fd) != environment.master_port)
    fail_user(
        "VMLA_STORE_LISTEN_FD is {}, which is no socket bound to MASTER_PORT {}; leave it to "
        "vmla-launch",
        environment.listen_fd,
        environment.master_port);
  return environment.listen_fd;
}

// A start takes seconds. Whoever waits for longer is told for what.
constexpr double kQuietSeconds = 5;

/// Connects to the store that rank 0 or the launcher serves. One rank of each machine says that it
/// waits, once it has done so for a while.
std::unique_ptr<Store> connect_patiently(const RankEnvironment& environment,
                                         const std::string& prefix,
                                         double timeout_seconds) {
  const Store::Server server = server_of(environment);
  if (timeout_seconds <= kQuietSeconds) return Store::connect(server, prefix, timeout_seconds);
  try {
    return Store::connect(server, prefix, kQuietSeconds);
  } catch (const StoreError&) {
    const double left = timeout_seconds - kQuietSeconds;
    if (speaks_for_host(formatted("wait {}:{}", server.host, server.port))) {
      log::pass_on(
          /*to_stderr=*/true,
          formatted("vmla: rank {} on host {}: nobody serves the job's store at {}:{} yet; "
                    "trying for {:g} s more",
                    environment.rank,
                    host_name(),
                    server.host,
                    server.port,
                    left));
    }
    return Store::connect(server, prefix, left);
  }
}

std::unique_ptr<Store> open_store(const RankEnvironment& environment,
                                  const std::string& prefix,
                                  double timeout_seconds) {
  const Store::Server server = server_of(environment);
  resolve_host(server.host, "MASTER_ADDR");  // its message is better than the store's
  const bool serves = environment.rank == 0 && !environment.use_agent_store;
  const int socket = serves ? listening_socket(environment) : -1;
  try {
    return serves ? Store::serve(server, socket, prefix, timeout_seconds)
                  : connect_patiently(environment, prefix, timeout_seconds);
  } catch (const StoreError&) {
    if (serves)
      fail_user(
          "MASTER_ADDR '{}', port {} does not lead back to rank 0 on host {}: it must be an "
          "address of the host that rank 0 runs on",
          server.host,
          server.port,
          host_name());
    fail_user(
        "rank {} on host {}: nobody serves the job's store at {}:{} after {:g} s; is {} running "
        "there, and may this host reach the port?",
        environment.rank,
        host_name(),
        server.host,
        server.port,
        timeout_seconds,
        environment.use_agent_store ? "the launcher" : "rank 0");
  }
}

/// Fails when the store belongs to another job that was given the same port, or when this rank has
/// joined already.
void expect_own_job(Store& store, const RankEnvironment& environment, double timeout_seconds) {
  std::optional<std::string> served;  // the id of the run whose store this is
  if (environment.rank == 0) {
    served = store.set_if_new("run", environment.run_id);
  } else {
    served = store.wait_for("run", timeout_seconds);
  }
  const Store::Server server = server_of(environment);
  if (!served)
    fail_user("rank 0 did not come to the job's store at {}:{} within {:g} s",
              server.host,
              server.port,
              timeout_seconds);
  if (*served != environment.run_id)
    fail_user(
        "the store at {}:{} belongs to another job ('{}'; this one is '{}'): choose another "
        "MASTER_PORT",
        server.host,
        server.port,
        *served,
        environment.run_id);
  if (store.add(formatted("ranks/{}", environment.rank), 1) != 1)
    fail_user(
        "rank {} is there twice: a second one started on host {} with the store at {}:{}; every "
        "rank has a number of its own, every job a MASTER_PORT of its own",
        environment.rank,
        host_name(),
        server.host,
        server.port);
}

/// Rank 0's side of agree().
void give_verdict(Store& store,
                  const RankEnvironment& environment,
                  const AgreedValue& agreed,
                  const std::string& key,
                  double timeout_seconds) {
  const Deadline deadline(timeout_seconds);
  store.set(key + "0", agreed.value);
  std::string verdict;
  bool is_said = false;
  for (int64_t rank = 1; rank < environment.world_size && verdict.empty(); ++rank) {
    const std::string its_key = formatted("{}{}", key, rank);
    auto found = store.wait_for(its_key, std::min(deadline.left(), kQuietSeconds));
    if (!found && deadline.left() > kQuietSeconds && !is_said) {
      is_said = true;
      log::warn("waiting for rank {} of {}, {:.0f} s more",
                rank,
                environment.world_size,
                deadline.left());
    }
    if (!found) found = store.wait_for(its_key, deadline.left());
    verdict = found ? *found
                    : formatted("rank {} of {} did not come within {:g} s to compare its {}",
                                rank,
                                environment.world_size,
                                timeout_seconds,
                                agreed.name);
  }
  store.set(key + "verdict", verdict);
  if (!verdict.empty()) throw UserError(verdict);
}

/// The other ranks' side.
void ask_for_verdict(Store& store,
                     const RankEnvironment& environment,
                     const AgreedValue& agreed,
                     const std::string& key,
                     double timeout_seconds) {
  const Deadline deadline(timeout_seconds);
  const auto of_rank_0 = store.wait_for(key + "0", deadline.left());
  if (!of_rank_0)
    fail_user("rank 0 did not come within {:g} s to compare its {}", timeout_seconds, agreed.name);
  const std::string mine = difference(agreed, environment.rank, *of_rank_0);
  store.set(formatted("{}{}", key, environment.rank), mine);
  if (!mine.empty()) throw UserError(mine);
  // Rank 0 may wait for another rank as long as it can before it gives its verdict.
  const auto verdict = store.wait_for(key + "verdict", deadline.left() + timeout_seconds);
  if (!verdict)
    fail_user("rank 0 did not say within {:g} s whether all ranks have the same {}",
              timeout_seconds,
              agreed.name);
  if (!verdict->empty()) throw UserError(*verdict);
}

}  // namespace

std::unique_ptr<Store> join_job(const RankEnvironment& environment, double timeout_seconds) {
  auto store =
      open_store(environment, formatted("attempt_{}/", environment.restart_count), timeout_seconds);
  expect_own_job(*store, environment, timeout_seconds);
  return store;
}

void meet_ranks(Store& store, const RankEnvironment& environment, double timeout_seconds) {
  const std::string size = formatted("{}", environment.world_size);
  agree(store, environment, {.name = "world size", .value = size}, timeout_seconds);
}

void agree(Store& store,
           const RankEnvironment& environment,
           const AgreedValue& agreed,
           double timeout_seconds) {
  // Each rank compares itself with rank 0, which collects what they found: one verdict for all.
  const std::string key = formatted("agree/{}/", agreed.name);
  if (environment.rank == 0) {
    give_verdict(store, environment, agreed, key, timeout_seconds);
  } else {
    ask_for_verdict(store, environment, agreed, key, timeout_seconds);
  }
}

void leave_job(Store& store, const RankEnvironment& environment, double timeout_seconds) {
  const int64_t left = store.add("left", 1);
  if (left == environment.world_size) store.set("all_left", "");
  if (environment.rank == 0) store.wait_for("all_left", timeout_seconds);
}

}  // namespace vmla::distributed
