#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/distributed/collectives/collective_log.h"

namespace vmla::distributed {

/// What a rank tells the others of itself, every second, over the job's store.
struct Heartbeat {
  enum class State { kRunning, kFailed, kEnded };  // failed: one of its collectives has
  /// The collective that the rank started last in a group.
  struct Group {
    std::string name;
    std::string collective;  // "all_gather #132 of group world"
    int64_t sequence = 0;    // its number in the group
    bool under_way = false;
    double seconds = 0;  // since it started or finished
  };
  int64_t count = 0;   // of the rank's heartbeats so far
  double sent_at = 0;  // seconds since 1970
  int64_t step = 0;    // the optimizer step that the rank is in
  State state = State::kRunning;
  std::string host = {};
  std::vector<Group> groups = {};
};

std::string format_heartbeat(const Heartbeat& beat);
/// Nothing when the text is no heartbeat.
std::optional<Heartbeat> parse_heartbeat(const std::string& text);

/// What was seen of a rank at two times, more than a heartbeat's period apart.
struct Sighting {
  std::optional<Heartbeat> before, after;
};

/// One line that says which ranks are missing in the collective `failed` of rank `own_rank`. Those
/// that are silent; if there are none, those that have ended; if there are none of these, those
/// that live but have not come to the collective. Silent and ended ranks count wherever they are,
/// for a member may wait for them in another group; late ones only among the group's `members`
/// (ascending; empty: all ranks). `now`: seconds since 1970.
std::string name_missing_ranks(const CollectiveRecord& failed,
                               const std::vector<int64_t>& members,
                               int64_t own_rank,
                               const std::vector<Sighting>& by_rank,
                               double now);

/// "; its last collective was ...", or that there was none yet.
std::string last_collective_of(const Heartbeat& beat);

}  // namespace vmla::distributed
