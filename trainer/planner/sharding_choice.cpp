#include "trainer/planner/sharding_choice.h"

#include "model/io/error.h"
#include "trainer/config/validate_distributed.h"
#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/planner/planned_step.h"

#include <algorithm>
#include <cstdio>
#include <optional>

namespace vmla::trainer {
namespace {

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g GB", bytes * 1e-9);
  return text;
}

/// Every way to fill in what is open, the one that sends least first where all send the same.
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

struct Candidate {
  DistributedConfig config;
  double peak = 0, sent = 0;  // bytes
};

}  // namespace

ShardingChoice sharding_choice(const TrainConfig& config,
                               const std::vector<PlannedRole>& roles,
                               const ClipShape& clip,
                               int64_t text_rows,
                               const distributed::MeshShape& mesh,
                               double device_memory) {
  ShardingChoice choice{.distributed = config.distributed, .reason = {}};
  DistributedConfig& chosen = choice.distributed;
  const bool open = (chosen.gradient_accumulation == "auto" || chosen.hold_weights == "auto") &&
                    mesh.shard > 1 && cuts_used_weights(config);
  if (!open || device_memory <= 0) {
    chosen.gradient_accumulation = scatters_gradients(chosen) ? "scattered" : "local";
    chosen.hold_weights = holds_weights(chosen) ? "true" : "false";
    if (open) choice.reason = "auto: sends least; taken to fit, as no memory of a device was said";
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
    const StepMemory step =
        planned_step(tried, roles, clip, text_rows, distributed::dry_mesh(mesh));
    const Candidate candidate{filled, static_cast<double>(step.peak_bytes), step.cycle_bytes()};
    if (!best || better(candidate, *best)) best = candidate;
  }
  chosen = best->config;
  choice.reason =
      formatted("auto: {}, {} planned, {} of a device usable",
                best->peak <= usable ? "sends least of what fits" : "needs least, nothing fits",
                gigabytes(best->peak),
                gigabytes(usable));
  return choice;
}

}  // namespace vmla::trainer
