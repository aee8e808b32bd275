#pragma once

#include "trainer/planner/memory_plan.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// Settings with which a stage fits into its GPUs.
struct FitProposal {
  /// Whether the settings as they are, `set` left out, fit already.
  bool fits_as_it_is = false;
  /// "distributed.sharding=full", ...: what has to be set besides; empty where nothing helps.
  std::vector<std::string> set;
  /// With so many ranks; more than were asked for where these are too few. 0: no number fits.
  int64_t ranks = 0;
  /// Of a step, with these settings.
  int64_t peak_bytes = 0;
};

/// Looks for the settings that change least and fit: fewer clips at once, weights cut over ranks,
/// blocks computed twice, tokens of a clip shared, moments and averages and frozen roles in the
/// host's memory. They are added one by one until the planned step fits, then each that is not
/// needed is taken back. Where all of them do not suffice, ranks are doubled. The search ends
/// after half a minute. `gpu_memory` of `request` must be above 0.
FitProposal propose_fit(const TrainConfig& config,
                        const std::vector<PlannedRole>& roles,
                        const PlannedMedia& media,
                        const MemoryRequest& request);

/// Lines to follow memory_table: whether the stage fits, and the proposal as `--set` lines. For a
/// stage on GPUs whose memory is not stated, it is taken to be 80 GB; empty for one on CPUs.
std::string fit_lines(const TrainConfig& config,
                      const std::vector<PlannedRole>& roles,
                      const PlannedMedia& media,
                      const MemoryRequest& request);

}  // namespace vmla::trainer
