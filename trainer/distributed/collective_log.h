#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "trainer/distributed/communicator.h"

namespace vmla::distributed {

/// One collective of this rank. On a GPU "finished" means that it was queued.
struct CollectiveRecord {
  enum class State { kUnderWay, kFinished, kFailed };
  std::string group;
  Collective collective;
  int64_t sequence;  // of the group, from 1
  double bytes;      // as CommCounters counts them
  State state = State::kUnderWay;
  std::chrono::steady_clock::time_point changed = {};  // into this state
};

/// "all_gather #132 of group world"
std::string describe(const CollectiveRecord& record);

/// The last collectives of a rank, over all its groups: for the rank's log after a failure, and for
/// the watchdog, which tells the other ranks. Any thread may read or write it.
class CollectiveLog {
 public:
  explicit CollectiveLog(size_t kept = 64) : kept_(kept) {}

  /// Returns the number under which the collective's end is reported.
  int64_t started(const std::string& group, Collective collective, int64_t sequence, double bytes);
  void finished(int64_t ticket);
  void failed(int64_t ticket);

  /// The last ones, oldest first.
  std::vector<CollectiveRecord> last() const;
  /// Of each group the one started last.
  std::vector<CollectiveRecord> latest() const;
  /// The first that failed.
  std::optional<CollectiveRecord> first_failed() const;
  /// Of those under way the one that was started first.
  std::optional<CollectiveRecord> longest_under_way() const;

 private:
  void change(int64_t ticket, CollectiveRecord::State state);

  mutable std::mutex mutex_;
  size_t kept_;
  int64_t tickets_ = 0;
  // The last `kept_` by their ticket, and those still under way however old.
  std::map<int64_t, CollectiveRecord> records_;
  std::map<std::string, CollectiveRecord> latest_;
  std::optional<CollectiveRecord> first_failed_;
};

}  // namespace vmla::distributed
