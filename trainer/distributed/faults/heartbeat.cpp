#include "trainer/distributed/faults/heartbeat.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

// More ranks than this are counted, not named.
constexpr size_t kNamedRanks = 3;

std::string whole_seconds(double seconds) {
  return formatted("{} s", std::llround(std::max(0.0, seconds)));
}

/// A rank that is missing, and for how long.
struct Missing {
  double seconds;
  std::string text;
};

/// The texts in one line, the rank that is missing for longest first.
std::string join(std::vector<Missing> missing) {
  std::stable_sort(missing.begin(), missing.end(), [](const Missing& a, const Missing& b) {
    return a.seconds > b.seconds;
  });
  std::string text;
  for (size_t i = 0; i < std::min(missing.size(), kNamedRanks); ++i)
    text += (i == 0 ? "" : "; ") + missing[i].text;
  if (missing.size() > kNamedRanks)
    text += formatted("; and {} more ranks", missing.size() - kNamedRanks);
  return text;
}

/// The group's entry; ranks that never started anything in it have none.
const Heartbeat::Group* group_of(const Heartbeat& beat, const std::string& name) {
  const auto found = std::find_if(beat.groups.begin(), beat.groups.end(), [&](const auto& group) {
    return group.name == name;
  });
  return found == beat.groups.end() ? nullptr : &*found;
}

}  // namespace

std::string format_heartbeat(const Heartbeat& beat) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << beat.count << '\t' << beat.sent_at << '\t'
       << beat.step << '\t' << static_cast<int>(beat.state) << '\t' << beat.host << '\n';
  for (const Heartbeat::Group& group : beat.groups)
    text << group.sequence << '\t' << group.under_way << '\t' << group.seconds << '\t' << group.name
         << '\t' << group.collective << '\n';
  return text.str();
}

std::optional<Heartbeat> parse_heartbeat(const std::string& text) {
  std::istringstream in(text);
  const auto rest_of_field = [&in](std::string& field, char end) {
    in.ignore();  // the tab before it
    std::getline(in, field, end);
  };
  Heartbeat beat;
  int state = 0;
  in >> beat.count >> beat.sent_at >> beat.step >> state;
  rest_of_field(beat.host, '\n');
  if (!in || state < 0 || state > 2) return std::nullopt;
  beat.state = static_cast<Heartbeat::State>(state);
  for (Heartbeat::Group group; in >> group.sequence >> group.under_way >> group.seconds;) {
    rest_of_field(group.name, '\t');
    std::getline(in, group.collective);
    beat.groups.push_back(group);
  }
  return beat;
}

std::string last_collective_of(const Heartbeat& beat) {
  // Of all its groups, the one in which something happened last.
  const auto last =
      std::min_element(beat.groups.begin(), beat.groups.end(), [](const auto& a, const auto& b) {
        return a.seconds < b.seconds;
      });
  if (last == beat.groups.end()) return "; it has come to no collective yet";
  return formatted(
      "; its last collective was {}{}", last->collective, last->under_way ? "" : ", finished");
}

std::string name_missing_ranks(const CollectiveRecord& failed,
                               const std::vector<int64_t>& members,
                               int64_t own_rank,
                               const std::vector<Sighting>& by_rank,
                               double now) {
  std::vector<Missing> silent, ended, late;
  for (int64_t rank = 0; rank < static_cast<int64_t>(by_rank.size()); ++rank) {
    if (rank == own_rank) continue;
    const auto& [before, after] = by_rank[static_cast<size_t>(rank)];
    if (!after) {
      silent.push_back({HUGE_VAL, formatted("rank {} has never answered", rank)});
      continue;
    }
    const std::string who = formatted("rank {} on host {}", rank, after->host);
    const double age = now - after->sent_at;
    // A rank whose own collective failed has lost somebody too: it is no cause.
    if (after->state == Heartbeat::State::kFailed) continue;
    if (after->state == Heartbeat::State::kEnded) {
      ended.push_back({age, formatted("{} has ended{}", who, last_collective_of(*after))});
    } else if (before && before->count == after->count) {  // not one heartbeat in between
      silent.push_back({age,
                        formatted("{} has not answered for {}{}",
                                  who,
                                  whole_seconds(age),
                                  last_collective_of(*after))});
    } else if (!members.empty() && !std::binary_search(members.begin(), members.end(), rank)) {
      continue;
    } else if (const auto* group = group_of(*after, failed.group);
               group == nullptr || group->sequence < failed.sequence) {
      const double waiting = group == nullptr ? 0 : group->seconds;
      late.push_back(
          {waiting,
           formatted("{} answers but has not come to it, in step {}{}{}",
                     who,
                     after->step,
                     last_collective_of(*after),
                     group == nullptr ? "" : formatted(" {} ago", whole_seconds(waiting)))});
    }
  }
  const std::string what = describe(failed) + ": ";
  if (!silent.empty()) return what + join(silent);
  if (!ended.empty()) return what + join(ended);
  if (!late.empty()) return what + join(late);
  return what + "it failed although every rank came to it";
}

}  // namespace vmla::distributed
