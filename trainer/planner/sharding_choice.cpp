#include "trainer/planner/sharding_choice.h"

#include "model/io/error.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/planner/planned_step.h"

#include <algorithm>
#include <optional>

namespace vmla::trainer {
namespace {

std::string gigabytes(double bytes) {
  return formatted("{:.3g} GB", bytes * 1e-9);
}

/// Every way to fill in what is `auto`. Of several that fit and send the same the first is taken:
/// the one that works as if there were memory enough.
std::vector<DistributedConfig> candidates(const DistributedConfig& given) {
  std::vector<DistributedConfig> all;
  for (const char* hold : {"true", "false"}) {
    for (const char* accumulation : {"local", "scattered"}) {
      DistributedConfig filled = given;
      if (given.hold_weights == "auto") filled.hold_weights = hold;
      if (given.gradient_accumulation == "auto") filled.gradient_accumulation = accumulation;
      if (std::ranges::find(all, filled) == all.end()) all.push_back(filled);
    }
  }
  return all;
}

/// A setting with the peak of its step and what a rank sends in a cycle of steps, in bytes.
struct Candidate {
  DistributedConfig config;
  double peak = 0, sent = 0;
};

}  // namespace

ShardingChoice sharding_choice(const TrainConfig& config,
                               const std::vector<PlannedRole>& roles,
                               const PlannedMedia& media,
                               const distributed::MeshShape& mesh,
                               double device_memory) {
  ShardingChoice choice{.distributed = config.distributed, .reason = {}};
  DistributedConfig& chosen = choice.distributed;
  // For sharding that does not cut the weights in use, `auto` has fixed values.
  const bool open = (chosen.gradient_accumulation == "auto" || chosen.hold_weights == "auto") &&
                    mesh.shard > 1 && cuts_used_weights(config);
  if (!open || device_memory <= 0) {
    chosen.gradient_accumulation = scatters_gradients(chosen) ? "scattered" : "local";
    chosen.hold_weights = holds_weights(chosen) ? "true" : "false";
    if (open)
      choice.reason = "auto: least communication, taken to fit: the device's memory is not known";
    return choice;
  }
  const double usable = kUsableMemory * device_memory;
  std::optional<Candidate> best;
  const auto better = [&](const Candidate& one, const Candidate& other) {
    const bool fits = one.peak <= usable;
    if (fits != (other.peak <= usable)) return fits;
    return fits ? one.sent < other.sent : one.peak < other.peak;
  };
  for (const DistributedConfig& filled : candidates(config.distributed)) {
    TrainConfig tried = of_one_rank(config, mesh);
    tried.distributed = filled;
    const StepMemory step = planned_step(tried, roles, media, distributed::dry_mesh(mesh));
    const Candidate candidate{filled, static_cast<double>(step.peak_bytes), step.cycle_bytes()};
    if (!best || better(candidate, *best)) best = candidate;
  }
  chosen = best->config;
  choice.reason =
      formatted("auto: {}; {} planned of {} usable",
                best->peak <= usable ? "least communication among the settings that fit in memory"
                                     : "least memory, for no setting fits",
                gigabytes(best->peak),
                gigabytes(usable));
  return choice;
}

}  // namespace vmla::trainer
