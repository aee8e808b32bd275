#include "trainer/distributed/job/rendezvous.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <sstream>
#include <vector>

#include "model/io/error.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

using Clock = std::chrono::steady_clock;

std::string quoted(const std::string& text) {
  constexpr size_t kShown = 120;
  return text.size() <= kShown ? "'" + text + "'" : "'" + text.substr(0, kShown) + "...'";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What rank `rank` has otherwise than rank 0; empty when both are equal.
std::string difference(const std::string& name,
                       int64_t rank,
                       const std::string& mine,
                       const std::string& of_rank_0) {
  if (mine == of_rank_0) return {};
  const std::string who =
      formatted("rank {} on host {} has another {} than rank 0: ", rank, host_name(), name);
  const std::vector<std::string> here = lines_of(mine), there = lines_of(of_rank_0);
  if (here.size() <= 1 && there.size() <= 1)
    return formatted(
        "{}{}, rank 0 has {}; start all ranks alike", who, quoted(mine), quoted(of_rank_0));
  size_t line = 0;
  while (line < here.size() && line < there.size() && here[line] == there[line]) ++line;
  const auto at = [line](const std::vector<std::string>& lines) {
    return line < lines.size() ? quoted(lines[line]) : "nothing";
  };
  return formatted(
      "{}line {} is {}, rank 0 has {}; start all ranks alike", who, line + 1, at(here), at(there));
}

Store::Server server_of(const RankEnvironment& environment) {
  return {environment.master_addr, environment.master_port};
}

std::unique_ptr<Store> open_store(const RankEnvironment& environment,
                                  const std::string& prefix,
                                  double timeout_seconds) {
  const Store::Server server = server_of(environment);
  resolve_host(server.host, "MASTER_ADDR");
  const bool serves = environment.rank == 0 && !environment.use_agent_store;
  int socket = -1;
  if (serves && environment.listen_fd >= 0) {
    socket = environment.listen_fd;
    if (listen_on_inherited(socket) != server.port)
      fail_user(
          "VMLA_STORE_LISTEN_FD is {}, which is no socket bound to MASTER_PORT {}; leave it to "
          "vmla-launch",
          socket,
          server.port);
  } else if (serves) {
    socket = listen_on(server.port);
  }
  try {
    return serves ? Store::serve(server, socket, prefix, timeout_seconds)
                  : Store::connect(server, prefix, timeout_seconds);
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

/// The port may be another job's: two jobs that were given the same one.
void expect_own_job(Store& store, const RankEnvironment& environment, double timeout_seconds) {
  const bool first = environment.rank == 0;
  std::optional<std::string> served = environment.run_id;
  if (first)
    served = store.set_if_new("run", environment.run_id);
  else
    served = store.wait_for("run", timeout_seconds);
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

}  // namespace

std::unique_ptr<Store> join_job(const RankEnvironment& environment, double timeout_seconds) {
  auto store =
      open_store(environment, formatted("attempt_{}/", environment.restart_count), timeout_seconds);
  expect_own_job(*store, environment, timeout_seconds);
  return store;
}

void meet_ranks(Store& store, const RankEnvironment& environment, double timeout_seconds) {
  agree(store, environment, "world size", formatted("{}", environment.world_size), timeout_seconds);
}

void agree(Store& store,
           const RankEnvironment& environment,
           const std::string& name,
           const std::string& value,
           double timeout_seconds) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(timeout_seconds);
  const auto left = [&] {
    return std::max(0.01, std::chrono::duration<double>(deadline - Clock::now()).count());
  };
  const std::string key = formatted("agree/{}/", name);
  // Each rank compares itself with rank 0, which collects what they found: one verdict for all.
  if (environment.rank == 0) {
    store.set(key + "0", value);
    std::string verdict;
    for (int64_t rank = 1; rank < environment.world_size && verdict.empty(); ++rank) {
      const auto found = store.wait_for(formatted("{}{}", key, rank), left());
      verdict = found ? *found
                      : formatted("rank {} of {} did not come within {:g} s to compare its {}",
                                  rank,
                                  environment.world_size,
                                  timeout_seconds,
                                  name);
    }
    store.set(key + "verdict", verdict);
    if (!verdict.empty()) throw UserError(verdict);
    return;
  }
  const auto of_rank_0 = store.wait_for(key + "0", left());
  if (!of_rank_0)
    fail_user("rank 0 did not come within {:g} s to compare its {}", timeout_seconds, name);
  const std::string mine = difference(name, environment.rank, value, *of_rank_0);
  store.set(formatted("{}{}", key, environment.rank), mine);
  if (!mine.empty()) throw UserError(mine);
  // Rank 0 may have waited as long as it could for another rank before it says so.
  const auto verdict = store.wait_for(key + "verdict", left() + timeout_seconds);
  if (!verdict)
    fail_user("rank 0 did not say within {:g} s whether all ranks have the same {}",
              timeout_seconds,
              name);
  if (!verdict->empty()) throw UserError(*verdict);
}

void leave_job(Store& store, const RankEnvironment& environment, double timeout_seconds) {
  const int64_t left = store.add("left", 1);
  if (left == environment.world_size) store.set("all_left", "");
  if (environment.rank == 0) store.wait_for("all_left", timeout_seconds);
}

}  // namespace vmla::distributed
