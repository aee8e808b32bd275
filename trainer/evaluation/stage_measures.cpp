#include "trainer/evaluation/stage_measures.h"

#include "analysis/video/drift_summary.h"
#include "data/synth/moving_shapes.h"
#include "model/io/log.h"
#include "model/network/attention_plan.h"
#include "trainer/distributed/collectives/lead_work.h"
#include "trainer/evaluation/sample_together.h"
#include "trainer/evaluation/sampler_settings.h"

#include <ATen/ATen.h>

#include <set>

namespace vmla::trainer {
namespace {

// The seed of measured videos lies apart from the small ones that users give to their samples.
constexpr uint64_t kMeasureSeed = 1'000'000;
// The batch in which they are sampled. Measures are of many videos, so that none has to be
// independent of the others to the bit.
constexpr int64_t kVideosAtOnce = 16;

/// Pixel frames of each chunk of a sampled video.
std::vector<int64_t> chunk_pixel_frames(const model::ModelConfig& config,
                                        const model::CodecGeometry& codec,
                                        int64_t latent_frames) {
  std::vector<int64_t> frames;
  int64_t done = 0;
  for (int64_t size : model::chunk_sizes(config, latent_frames)) {
    const int64_t before = done > 0 ? codec.pixel_frames(done) : 0;
    done += size;
    frames.push_back(codec.pixel_frames(done) - before);
  }
  return frames;
}

/// Samples whole videos of held-out captions.
class MeasuredVideos {
 public:
  MeasuredVideos(const TrainConfig& config,
                 const VideoSampler& sampler,
                 const model::Network& network,
                 const distributed::Mesh& mesh,
                 const MeasureWatch& watch)
      : config_(config),
        traits_(objective_traits(config.objective)),
        sampler_(sampler),
        network_(network),
        mesh_(mesh),
        watch_(watch) {}

  /// Says how much sample() will have to do in all, in latent frames.
  void expect(size_t videos, int64_t frames, int64_t ways) {
    expected_ += static_cast<int64_t>(videos) * latent_frames(frames) * ways;
  }

  /// How a measured set of videos is sampled.
  struct Way {
    bool erase_cache = false;
    /// Not empty: by the few-step sampler, with these steps.
    std::vector<double> few_steps = {};
  };

  /// Videos of at least `frames` video frames, [F, 3, H, W] each, with their captions; none on
  /// ranks other than the lead.
  std::vector<analysis::CaptionedClip> sample(const std::vector<VideoPrompt>& prompts,
                                              int64_t frames,
                                              const Way& way) {
    model::SamplerSettings sampler = sampler_settings(config_.sample, traits_);
    if (!way.few_steps.empty()) {
      sampler.kind = model::SamplerKind::kFewStep;
      sampler.denoising_step_list = way.few_steps;
    }
    const VideoSampler::Request request{.prompts = prompts,
                                        .latent_frames = latent_frames(frames),
                                        .sampler = sampler,
                                        .negative_prompt = config_.sample.negative_prompt,
                                        .batch = kVideosAtOnce,
                                        .erase_cache = way.erase_cache,
                                        .device = at::Device(config_.train.device),
                                        .noise_PFCHW = {},
                                        .before_pass = watch_.before_pass};
    const auto count = [&](int64_t latent_frames) {
      sampled_ += latent_frames;
      watch_.progress(sampled_, expected_);
    };
    const auto videos = sample_videos_together(mesh_, sampler_, network_, request, count);
    std::vector<analysis::CaptionedClip> clips;
    for (size_t i = 0; i < videos.size(); ++i)
      clips.push_back({videos[i].pixels_F3HW, prompts[i].text, videos[i].latents_FCHW});
    return clips;
  }

  /// Video frames of each chunk of such a video.
  std::vector<int64_t> chunks(int64_t frames) const {
    return chunk_pixel_frames(network_.config, sampler_.geometry(), latent_frames(frames));
  }

 private:
  int64_t latent_frames(int64_t frames) const {
    return sampler_.latent_frames_for(network_.config, frames);
  }

  const TrainConfig& config_;
  ObjectiveTraits traits_;
  const VideoSampler& sampler_;
  const model::Network& network_;
  const distributed::Mesh& mesh_;
  const MeasureWatch& watch_;
  int64_t sampled_ = 0, expected_ = 0;  // latent frames
};

/// The long videos that are sampled, and what they are measured against: the same measures of as
/// many real clips.
struct LongPlan {
  std::vector<VideoPrompt> prompts;
  analysis::DriftLayout layout;
  analysis::DriftBand band;
};

/// What the clips are compared with, if the held-out ones show a mosaic.
std::optional<analysis::MosaicReference> mosaic_reference(const data::LatentDataset& held_out,
                                                          const model::ModelConfig& model) {
  // Real clips, and token patches of each: enough that their share of the energy distance's error
  // is small beside the samples', in a second.
  constexpr int64_t kClips = 256, kPatches = 64;
  const data::LatentInfo& info = held_out.info();
  const auto mosaic = data::parse_scene(info.scene, "data.validation_path");
  if (!mosaic) return std::nullopt;
  analysis::MosaicReference reference{.mosaic = *mosaic,
                                      .real = {},
                                      .patch = {model.patch_size.begin(), model.patch_size.end()},
                                      .patches = kPatches,
                                      .latent_frames = info.clip_shape[0]};
  std::vector<at::Tensor> patches;
  for (int64_t i = 0; i < std::min(kClips, held_out.size()); ++i) {
    const at::Tensor latents = held_out.latents(i);
    if (latents.sizes() != at::IntArrayRef(info.clip_shape))
      continue;  // a folder of several shapes
    patches.push_back(analysis::token_patches(latents, reference.patch, kPatches));
    reference.real.kinds.push_back(analysis::kind_of(held_out.caption(i)));
  }
  if (patches.size() >= 2) reference.real.vectors_NPD = at::stack(patches);
  return reference;
}

/// Nothing, and a line in the log, where two windows do not fit into a long video: drift is what
/// changes from window to window.
std::optional<LongPlan> plan_long_rollouts(const SampleConfig& config,
                                           const MeasuredVideos& videos,
                                           const data::LatentDataset& held_out) {
  const data::LatentInfo& info = held_out.info();
  LongPlan plan{.prompts = measured_prompts(held_out, config.long_clips),
                .layout = {.frames = config.long_frames,
                           .window_frames = info.pixel_frames,
                           .chunk_frames = videos.chunks(config.long_frames),
                           .fps = info.fps,
                           .mosaic = data::parse_scene(info.scene, "data.validation_path")},
                .band = {}};
  if (plan.prompts.empty()) return std::nullopt;
  if (plan.layout.windows() < 2) {
    log::info(
        "drift is not measured: sample.long_frames is {}, and two windows of a clip's length take "
        "{}",
        config.long_frames,
        2 * info.pixel_frames);
    return std::nullopt;
  }
  std::vector<std::string> captions;
  for (const VideoPrompt& prompt : plan.prompts) captions.push_back(prompt.text);
  plan.band = analysis::real_drift_band(captions, info.pixel_width, info.pixel_frames, plan.layout);
  return plan;
}

}  // namespace

std::vector<VideoPrompt> measured_prompts(const data::LatentDataset& held_out, int64_t count) {
  std::set<std::string> captions;
  for (int64_t i = 0; i < held_out.size(); ++i) {
    if (data::parse_caption(held_out.caption(i))) captions.insert(held_out.caption(i));
  }
  std::vector<VideoPrompt> prompts;
  if (captions.empty()) return prompts;
  while (static_cast<int64_t>(prompts.size()) < count) {
    for (const std::string& caption : captions) {
      const auto place = static_cast<uint32_t>(prompts.size());
      if (place < count) prompts.push_back({.text = caption, .seed = kMeasureSeed, .place = place});
    }
  }
  return prompts;
}

std::optional<StageMeasures> measure_stage(const TrainConfig& config,
                                           const VideoSampler& sampler,
                                           const model::Network& network,
                                           const data::LatentDataset& held_out,
                                           const distributed::Mesh& mesh,
                                           const MeasureWatch& watch) {
  const SampleConfig& sample = config.sample;
  const std::vector<VideoPrompt> prompts = measured_prompts(held_out, sample.measure_clips);
  MeasuredVideos videos(config, sampler, network, mesh, watch);
  const bool causal = objective_traits(config.objective).causal;
  const auto long_plan = causal && sample.long_frames > 0
                             ? plan_long_rollouts(sample, videos, held_out)
                             : std::nullopt;
  const auto reference = mosaic_reference(held_out, network.config);
  const analysis::MosaicReference* const mosaic = reference ? &*reference : nullptr;
  // The measures of one way of sampling: clips, and long videos where they are planned.
  const auto measure = [&](const MeasuredVideos::Way& way) {
    SampledMeasures measures;
    if (!prompts.empty()) {
      const auto clips = videos.sample(prompts, sample.frames, way);
      distributed::while_lead_works(mesh, [&] {
        measures.clips = analysis::measure_clips(clips, videos.chunks(sample.frames), mosaic);
      });
    }
    if (long_plan) {
      const auto clips = videos.sample(long_plan->prompts, sample.long_frames, way);
      distributed::while_lead_works(mesh, [&] {
        measures.long_rollout = {
            analysis::measure_drift(clips, long_plan->layout, long_plan->band),
            analysis::measure_clips(clips, long_plan->layout.chunk_frames, mosaic)};
        log::info(analysis::drift_line(measures.long_rollout->drift));
      });
    }
    return measures;
  };
  if (prompts.empty() && !long_plan) return std::nullopt;
  const int64_t ways = sample.also_few_step.empty() ? 1 : 2;
  videos.expect(prompts.size(), sample.frames, ways + (causal ? 1 : 0));
  if (long_plan) videos.expect(long_plan->prompts.size(), sample.long_frames, ways);
  log::info(
      "measuring: {} videos of {} frames{}, sampled in {} ways",
      prompts.size(),
      sample.frames,
      long_plan ? formatted(" and {} of {}", long_plan->prompts.size(), sample.long_frames) : "",
      ways + (causal ? 1 : 0));
  StageMeasures measures{.own = measure({}), .few_step = {}, .without_cache = std::nullopt};
  if (!sample.also_few_step.empty())
    measures.few_step = measure({.few_steps = sample.also_few_step});
  if (causal && !prompts.empty()) {
    const auto clips = videos.sample(prompts, sample.frames, {.erase_cache = true});
    distributed::while_lead_works(mesh, [&] {
      measures.without_cache = analysis::measure_clips(clips, videos.chunks(sample.frames), mosaic);
    });
  }
  if (!mesh.is_lead()) return std::nullopt;
  return measures;
}

}  // namespace vmla::trainer
