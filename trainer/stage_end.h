#pragma once

#include "trainer/evaluation/video_sampler.h"
#include "trainer/pipeline/run_folder.h"
#include "trainer/run_stage.h"
#include "trainer/trainer.h"

namespace vmla::trainer {

/// A stage whose last step is made and saved.
struct TrainedStage {
  const StageRequest& request;
  const RunFolder* folder;  // of the lead; null on other ranks
  const Trainer& trainer;
  RoleSet& roles;
  const StageData& data;
  const VideoSampler& sampler;
  const distributed::Mesh& mesh;
};

/// Samples the trained model over held-out captions, measures what it samples, and writes the final
/// figures, which mark the stage as finished. Shows how far it is. StopRequested before the next
/// pass of the network where a signal comes to any rank: the next start measures. RunError where
/// the run folder is gone. Collective.
void finish_stage(const TrainedStage& stage);

}  // namespace vmla::trainer
