#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/distributed/collectives/collective_log.h"

namespace vmla::distributed {

/// What a rank tells the others of itself, every second, over the job's store.
struct Heartbeat {
  enum class State { kRunning, kFailed, kEnded };  // failed: a collective of it did
  struct Group {                                   // the collective started last in each group
    std::string name;
    std::string collective;  // "all_gather #132 of group world"
    int64_t sequence = 0;
    bool under_way = false;
    double seconds = 0;  // since it started or finished
  };
  int64_t count = 0;   // grows with every one
  double sent_at = 0;  // seconds since 1970
  int64_t step = 0;
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

/// Says in one line which ranks are missing in the collective `failed` of rank `own_rank`: those
/// that are silent, else those that have ended (of the whole job: a member may wait for them in
/// another group), else those `members` of the group (ascending; empty: all) that live but have not
/// come to it. `now`: seconds since 1970.
std::string name_missing_ranks(const CollectiveRecord& failed,
                               const std::vector<int64_t>& members,
                               int64_t own_rank,
                               const std::vector<Sighting>& by_rank,
                               double now);

/// "; its last collective was ...", or that there was none yet.
std::string last_collective_of(const Heartbeat& beat);

}  // namespace vmla::distributed
