#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/job/clock.h"

namespace vmla::distributed {

/// One collective of this rank.
struct CollectiveRecord {
  enum class State { kUnderWay, kFinished, kFailed };
  std::string group;
  Collective collective;
  int64_t sequence;  // its number in the group, from 1
  double bytes;      // as CommCounters counts them
  State state = State::kUnderWay;
  bool awaited = false;            // a thread, or a device's queue, stands still until it is done
  Clock::time_point changed = {};  // when it came into this state, or was first awaited
};

/// "all_gather #132 of group world"
std::string describe(const CollectiveRecord& record);

/// The last collectives of a rank, over all its groups. The watchdog reads it: it tells the other
/// ranks where this one is, and finds what failed or hangs. Any thread may call any method.
class CollectiveLog {
 public:
  explicit CollectiveLog(size_t kept = 64) : kept_(kept) {}

  /// The members of a group by their numbers in the job, ascending; empty: all ranks.
  void set_members(const std::string& group, const std::vector<int64_t>& members);
  std::vector<int64_t> members(const std::string& group) const;

  /// Returns the ticket under which what becomes of the collective is reported.
  int64_t started(const std::string& group, Collective collective, int64_t sequence, double bytes);
  /// From now on a thread waits for it. One that is only started ahead may take as long as it likes
  /// and does not hang.
  void awaited(int64_t ticket);
  /// Nobody waits any more. `is_done`, for a collective on a device: it is under way until that
  /// says so, and has failed where that throws.
  void finished(int64_t ticket, std::function<bool()> is_done = nullptr);
  void failed(int64_t ticket);

  /// The last ones, oldest first.
  std::vector<CollectiveRecord> last() const;
  /// The one that was started last in each group.
  std::vector<CollectiveRecord> latest() const;
  /// The first that failed; those after it fail because of it.
  std::optional<CollectiveRecord> first_failed() const;
  /// The first of which the device said so (`is_done` has thrown): the thread that computes there
  /// may wait for it without end.
  std::optional<CollectiveRecord> first_failed_on_device() const;
  /// The one under way that has been awaited for longest.
  std::optional<CollectiveRecord> longest_awaited() const;

 private:
  void change(int64_t ticket, CollectiveRecord::State state) const;
  void look_at_devices() const;

  // Guards everything below. Reading asks the devices first, which changes records: hence mutable.
  mutable std::mutex mutex_;
  size_t kept_;
  int64_t tickets_ = 0;
  std::map<std::string, std::vector<int64_t>> members_;
  // By ticket: the last `kept_`, and those still under way however old.
  mutable std::map<int64_t, CollectiveRecord> records_;
  mutable std::map<std::string, CollectiveRecord> latest_;       // by group
  mutable std::map<int64_t, std::function<bool()>> on_devices_;  // by ticket: is_done
  mutable std::optional<CollectiveRecord> first_failed_, first_failed_on_device_;
};

}  // namespace vmla::distributed
