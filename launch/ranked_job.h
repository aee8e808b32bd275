#pragma once

#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/distributed/job/rank_environment.h"

#include <functional>
#include <string>
#include <vector>

namespace vmla::launch {

/// A stage's job of several ranks, as one of them sees it.
struct RankedJob {
  const trainer::TrainConfig& config;
  const distributed::Mesh& mesh;
  // To be called at each step: when a collective hangs, the other ranks say in which step this one
  // was.
  std::function<void(int64_t step)> on_step;
};

/// Joins the job that the environment describes, with the configuration of `file` and `overrides`,
/// makes its groups, and runs `work` on this rank. Returns the exit status. An error on any rank is
/// reported once, by the rank that has it; a rank that only lost another one ends with kPeerLost.
int run_ranks(const distributed::RankEnvironment& environment,
              const std::string& file,
              const std::vector<std::string>& overrides,
              const std::function<void(const RankedJob& job)>& work);

}  // namespace vmla::launch
