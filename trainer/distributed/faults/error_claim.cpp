#include "trainer/distributed/faults/error_claim.h"

#include <thread>

#include "model/io/error.h"
#include "trainer/distributed/job/clock.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

constexpr double kAnswerSeconds = 3;
// How long a victim waits for another rank to claim the root cause, and how long a rank 0 that
// serves the store waits for the others to read it.
constexpr double kClaimSeconds = 2;
constexpr double kLingerSeconds = 2.5;
// In the store: "RANK\tHOST\tTEXT" of the first rank that claimed an error, and how many ranks have
// read it.
constexpr const char* kErrorKey = "error";
constexpr const char* kHeardKey = "error_heard";

/// Claims the error for this rank, unless another one was faster; the line is then that rank's.
ErrorLine claim(Store& store, int64_t rank, const std::string& text) {
  const std::string mine = formatted("{}\t{}\t{}", rank, host_name(), text);
  const std::string claimed = store.set_if_new(kErrorKey, mine);
  const size_t host = claimed.find('\t') + 1, behind = claimed.find('\t', host);
  return {claimed == mine, claimed.substr(behind + 1), claimed.substr(host, behind - host)};
}

bool serves_store(const RankEnvironment& environment) {
  return environment.rank == 0 && !environment.use_agent_store;
}

}  // namespace

ErrorLine claim_error(const Store& store,
                      const RankEnvironment& environment,
                      const Watchdog* watchdog,
                      const std::exception& error) {
  const bool victim = is_of_peer(error);
  const std::string own =
      victim || environment.world_size == 1
          ? error.what()
          : formatted("rank {} on host {}: {}", environment.rank, host_name(), error.what());
  // Who prints for the victims when the store is gone: with it, as a rule, the rank that serves it.
  const int64_t speaker = environment.use_agent_store ? 0 : 1;
  try {
    if (victim && watchdog != nullptr && !watchdog->store_answers())
      return {environment.rank == speaker, watchdog->explain(), ""};
    const auto connection = store.connect_again(kAnswerSeconds);
    std::string text = own;
    if (watchdog != nullptr && dynamic_cast<const CommError*>(&error) != nullptr) {
      text = watchdog->explain([&] { return connection->check(kErrorKey); });
    } else if (victim) {
      connection->wait_for(kErrorKey, kClaimSeconds);
    }
    // An empty text: another rank has claimed the error meanwhile, and this only reads its text.
    const ErrorLine line = claim(*connection, environment.rank, text);
    if (!serves_store(environment)) connection->add(kHeardKey, 1);
    return line;
  } catch (const StoreError&) {
    if (!victim) return {true, own, host_name()};
    return {environment.rank == speaker, watchdog == nullptr ? own : watchdog->explain(), ""};
  }
}

void await_readers(const Store& store, const RankEnvironment& environment) {
  if (!serves_store(environment)) return;
  try {
    const auto connection = store.connect_again(kAnswerSeconds);
    const auto start = Clock::now();
    while (connection->add(kHeardKey, 0) < environment.world_size - 1 &&
           seconds_since(start) < kLingerSeconds) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  } catch (const StoreError&) {  // nobody can read it any more
  }
}

}  // namespace vmla::distributed
