#include "trainer/distributed/faults/error_claim.h"

#include <chrono>
#include <thread>

#include "model/io/error.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

constexpr double kAnswerSeconds = 3;
constexpr double kClaimSeconds = 2;     // a victim waits so long for a root cause
constexpr double kLingerSeconds = 2.5;  // and a rank 0 that serves the store for the victims
constexpr const char* kErrorKey = "error";
constexpr const char* kHeardKey = "error_heard";

/// Says it, unless somebody was faster.
ErrorLine claim(Store& store, int64_t rank, const std::string& text) {
  const std::string mine = formatted("{}\t{}", rank, text);
  const std::string claimed = store.set_if_new(kErrorKey, mine);
  return {claimed == mine, claimed.substr(claimed.find('\t') + 1)};
}

void linger(Store& store, int64_t victims) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(kLingerSeconds);
  while (store.add(kHeardKey, 0) < victims && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace

ErrorLine claim_error(const Store& store,
                      const RankEnvironment& environment,
                      const Watchdog* watchdog,
                      const std::exception& error) {
  const bool victim = dynamic_cast<const PeerError*>(&error) != nullptr;
  const std::string own =
      victim || environment.world_size == 1
          ? error.what()
          : formatted("rank {} on host {}: {}", environment.rank, host_name(), error.what());
  const int64_t speaker = environment.use_agent_store ? 0 : 1;  // for the victims, without a store
  try {
    if (victim && watchdog != nullptr && !watchdog->store_answers())
      return {environment.rank == speaker, watchdog->explain()};
    const auto connection = store.connect_again(kAnswerSeconds);
    std::string text = own;
    if (watchdog != nullptr && dynamic_cast<const CommError*>(&error) != nullptr) {
      text = watchdog->explain([&] { return connection->check(kErrorKey); });
    } else if (victim) {
      connection->wait_for(kErrorKey, kClaimSeconds);
    }
    // Without a text somebody else has said it: this only asks what.
    const ErrorLine line = claim(*connection, environment.rank, text);
    if (environment.rank == 0 && !environment.use_agent_store) {
      linger(*connection, environment.world_size - 1);
    } else {
      connection->add(kHeardKey, 1);
    }
    return line;
  } catch (const StoreError&) {
    if (!victim) return {true, own};
    return {environment.rank == speaker, watchdog == nullptr ? own : watchdog->explain()};
  }
}

}  // namespace vmla::distributed
