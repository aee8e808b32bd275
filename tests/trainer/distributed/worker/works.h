#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/faults/watchdog.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/distributed/job/store.h"

/// What a rank_worker can do.
namespace vmla::distributed {

/// A number from the environment, or another one where it is not set.
double number_of(const char* variable, double otherwise);

/// RunError unless `holds`.
void expect(bool holds, const std::string& what);

/// A rank as the program sets it up.
struct Job {
  RankEnvironment environment = rank_environment();
  double timeout = number_of("TIMEOUT", 20);
  double patience = number_of("JOIN_TIMEOUT", 20);
  std::unique_ptr<Store> store = join();
  std::shared_ptr<CollectiveLog> log = std::make_shared<CollectiveLog>();
  std::unique_ptr<Watchdog> watchdog = std::make_unique<Watchdog>(
      *store,
      environment,
      log,
      WatchdogOptions{.timeout_seconds = timeout,
                      .grace_seconds = 0.5,
                      .period_seconds = 0.5,
                      .on_hang = [this](const std::string& line) { end_hung(line); }});

  [[noreturn]] void end_hung(const std::string& line) const;

  std::unique_ptr<Store> join() const;
  int64_t rank() const { return environment.rank; }
  int64_t size() const { return environment.world_size; }

  std::unique_ptr<Communicator> group(const std::string& name, const std::vector<int64_t>& ranks);
  std::unique_ptr<Communicator> world();
};

using Works = std::map<std::string, std::function<void(Job& job)>>;

/// Compares Gloo with threads, and its checks of sizes.
Works collective_works();
/// Ranks that meet and agree.
Works meeting_works();
/// One rank, VICTIM, is lost.
Works fault_works();

}  // namespace vmla::distributed
