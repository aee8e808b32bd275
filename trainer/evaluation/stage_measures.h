#pragma once

#include "analysis/video/clip_measures.h"
#include "analysis/video/drift.h"
#include "data/store/latent_dataset.h"
#include "trainer/config/train_config.h"
#include "trainer/evaluation/video_sampler.h"

#include <optional>

namespace vmla::trainer {

/// Videos ten clips long or so: what becomes of them, and what is left of caption and shape.
struct LongMeasures {
  analysis::DriftMeasures drift;
  analysis::ClipMeasures clips;
};

/// One way of sampling a stage's held-out captions, measured.
struct SampledMeasures {
  std::optional<analysis::ClipMeasures> clips;  // where sample.measure_clips asks for it
  std::optional<LongMeasures> long_rollout;     // causal models, sample.long_frames
};

/// What a stage's final samples on held-out captions show.
struct StageMeasures {
  SampledMeasures own;       // with the stage's own sampler
  SampledMeasures few_step;  // sample.also_few_step: the same captions and noise in those few steps
  std::optional<analysis::ClipMeasures>
      without_cache;  // causal models: every chunk sampled against a zeroed cache
};

/// Samples `sample.measure_clips` videos over the captions of `held_out` (each equally often, seeds
/// of their own) and reads colour, direction, retention and motion back from the pixels; then
/// `sample.long_clips` videos of `sample.long_frames` frames, read for drift in windows as long as
/// a clip of `held_out`. Nothing when the captions are not those of moving shapes, or no videos are
/// asked for.
std::optional<StageMeasures> measure_stage(const TrainConfig& config,
                                           const VideoSampler& sampler,
                                           const model::Network& network,
                                           const data::LatentDataset& held_out);

}  // namespace vmla::trainer
