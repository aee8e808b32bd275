#pragma once

#include "analysis/video/clip_measures.h"
#include "analysis/video/drift.h"
#include "data/store/latent_dataset.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/collectives/mesh.h"
#include "trainer/evaluation/video_sampler.h"

#include <functional>
#include <optional>

namespace vmla::trainer {

/// Videos many clips long: how they drift (docs/formats.md "Drift"), and how well they keep caption
/// and shape.
struct LongMeasures {
  analysis::DriftMeasures drift;
  analysis::ClipMeasures clips;
};

/// Measures of videos that were sampled in one way.
struct SampledMeasures {
  /// Where sample.measure_clips asks for it.
  std::optional<analysis::ClipMeasures> clips;
  /// Of a causal model, where sample.long_frames asks for it.
  std::optional<LongMeasures> long_rollout;
};

/// What a stage's final samples on held-out captions show.
struct StageMeasures {
  /// With the stage's own sampler.
  SampledMeasures own;
  /// sample.also_few_step: the same captions and noise, in those few steps.
  SampledMeasures few_step;
  /// Of a causal model: every chunk sampled against a cache of zeros. What gets worse by it is what
  /// the cache carries from chunk to chunk.
  std::optional<analysis::ClipMeasures> without_cache;
};

/// `count` prompts: the distinct captions of moving shapes in `held_out`, in alphabetical order,
/// over and over. All have one seed and each the place of its number, so that no two videos share
/// their noise, and video i has the same noise in every run, however many are measured and however
/// long they are. Empty where no caption is one of moving shapes.
std::vector<VideoPrompt> measured_prompts(const data::LatentDataset& held_out, int64_t count);

/// What is told of the measuring while it goes on. What either function throws ends it.
struct MeasureWatch {
  /// Before every pass of the network.
  std::function<void()> before_pass;
  /// Latent frames that are sampled, of all that will be.
  std::function<void(int64_t done, int64_t total)> progress;
};

/// Samples `sample.measure_clips` videos over the captions of `held_out`, each caption equally
/// often and each with noise of its own (measured_prompts), and reads colour, direction, shape,
/// retention and motion back from the pixels. Then `sample.long_clips` videos of
/// `sample.long_frames` frames, read for drift in windows as long as a clip of `held_out`. Nothing
/// where the captions are not those of moving shapes (data/synth), or no videos are asked for.
/// The ranks of `mesh` divide the sampling among them; the lead measures, and the others get
/// nothing. Collective.
std::optional<StageMeasures> measure_stage(const TrainConfig& config,
                                           const VideoSampler& sampler,
                                           const model::Network& network,
                                           const data::LatentDataset& held_out,
                                           const distributed::Mesh& mesh,
                                           const MeasureWatch& watch);

}  // namespace vmla::trainer
