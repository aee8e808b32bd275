#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "trainer/distributed/collectives/communicator.h"

namespace vmla::distributed {

/// One collective of this rank.
struct CollectiveRecord {
  enum class State { kUnderWay, kFinished, kFailed };
  std::string group;
  Collective collective;
  int64_t sequence;  // of the group, from 1
  double bytes;      // as CommCounters counts them
  State state = State::kUnderWay;
  bool awaited = false;  // somebody, or a device's queue, stands still until it is done
  std::chrono::steady_clock::time_point changed = {};  // into this state, or awaited
};

/// "all_gather #132 of group world"
std::string describe(const CollectiveRecord& record);

/// The last collectives of a rank, over all its groups: for the rank's log after a failure, and for
/// the watchdog, which tells the other ranks. Any thread may read or write it.
class CollectiveLog {
 public:
  explicit CollectiveLog(size_t kept = 64) : kept_(kept) {}

  /// The ranks of a group, ascending; empty: those of the job.
  void set_members(const std::string& group, const std::vector<int64_t>& members);
  std::vector<int64_t> members(const std::string& group) const;

  /// Returns the number under which the collective's end is reported.
  int64_t started(const std::string& group, Collective collective, int64_t sequence, double bytes);
  /// Somebody now waits for it. (One that was started ahead may lie for as long as it likes.)
  void awaited(int64_t ticket);
  /// `is_done`: finished only when that says so, on whatever device the collective runs.
  void finished(int64_t ticket, std::function<bool()> is_done = nullptr);
  void failed(int64_t ticket);

  /// The last ones, oldest first.
  std::vector<CollectiveRecord> last() const;
  /// Of each group the one started last.
  std::vector<CollectiveRecord> latest() const;
  /// The first that failed.
  std::optional<CollectiveRecord> first_failed() const;
  /// Of those awaited and under way the one that has been so for longest.
  std::optional<CollectiveRecord> longest_awaited() const;

 private:
  void change(int64_t ticket, CollectiveRecord::State state) const;
  void look_at_devices() const;

  mutable std::mutex mutex_;
  size_t kept_;
  int64_t tickets_ = 0;
  std::map<std::string, std::vector<int64_t>> members_;
  // The last `kept_` by their ticket, and those still under way however old.
  mutable std::map<int64_t, CollectiveRecord> records_;
  mutable std::map<std::string, CollectiveRecord> latest_;
  mutable std::map<int64_t, std::function<bool()>> on_devices_;
  mutable std::optional<CollectiveRecord> first_failed_;
};

}  // namespace vmla::distributed
