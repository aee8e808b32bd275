#pragma once

#include "trainer/distributed/collectives/mesh.h"
#include "trainer/distributed/job/rank_environment.h"

#include <functional>
#include <string>

namespace vmla::launch {

/// What a rank knows of a job before it has met the others.
struct RankPlan {
  // What every rank must have been asked for alike, as text of one line or more.
  std::string asked;
  // Asked when the ranks have met; may throw.
  std::function<distributed::MeshShape()> shape;
  double timeout_seconds;       // of a collective
  std::string device = "cpu";   // the groups' tensors: cpu or cuda
  bool staged_on_host = false;  // those of a GPU travel through the host's memory
};

/// A job of several ranks, as one of them sees it.
struct RankedJob {
  const distributed::Mesh& mesh;
  // To be called at each step: when a collective hangs, the other ranks say in which step this one
  // was.
  std::function<void(int64_t step)> on_step;
};

/// Joins the job that the environment describes, with this rank's `plan` (which may throw), makes
/// its groups, and runs `work` on this rank. Returns the exit status. An error on any rank is
/// reported once, by the rank that has it; a rank that only lost another one ends with kPeerLost.
int run_ranks(const distributed::RankEnvironment& environment,
              const std::function<RankPlan()>& plan,
              const std::function<void(const RankedJob& job)>& work);

}  // namespace vmla::launch
