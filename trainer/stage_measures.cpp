#include "trainer/stage_measures.h"

#include "data/moving_shapes.h"
#include "model/attention_plan.h"
#include "model/io/atomic_file.h"

#include <set>
#include <sstream>

namespace vmla::trainer {
namespace {

// Seeds of measured videos stand apart from the few that users give to their samples.
constexpr uint64_t kFirstMeasureSeed = 1'000'000;

std::vector<VideoPrompt> held_out_prompts(const data::LatentDataset& held_out, int64_t count) {
  std::set<std::string> captions;
  for (int64_t i = 0; i < held_out.size(); ++i) {
    if (data::parse_caption(held_out.caption(i))) captions.insert(held_out.caption(i));
  }
  std::vector<VideoPrompt> prompts;
  if (captions.empty()) return prompts;
  for (uint64_t seed = kFirstMeasureSeed; static_cast<int64_t>(prompts.size()) < count; ++seed) {
    for (const std::string& caption : captions) {
      if (static_cast<int64_t>(prompts.size()) < count) prompts.push_back({caption, seed});
    }
  }
  return prompts;
}

/// Pixel frames of each chunk of a sampled video.
std::vector<int64_t> chunk_pixel_frames(const model::ModelConfig& config,
                                        const model::VideoCodec& codec,
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

}  // namespace

std::vector<std::string> sample_prompts(const SampleConfig& config) {
  if (config.prompts.file.empty()) return config.prompts.list;
  std::istringstream lines(io::read_text_file(config.prompts.file));
  std::vector<std::string> prompts;
  for (std::string line; std::getline(lines, line);) prompts.push_back(line);
  return prompts;
}

model::SamplerSettings sampler_settings(const SampleConfig& config, const Objective& objective) {
  model::SamplerSettings settings;
  settings.kind = model::parse_sampler(config.sampler);
  settings.steps = config.steps;
  settings.guidance_scale = config.guidance_scale;
  settings.timestep_shift = objective.timestep_shift();
  if (const auto few_step = objective.few_step())
    settings.denoising_step_list = few_step->denoising_step_list;
  return settings;
}

std::optional<StageMeasures> measure_stage(const TrainConfig& config,
                                           const Objective& objective,
                                           const VideoSampler& sampler,
                                           const model::Network& network,
                                           const data::LatentDataset& held_out) {
  const std::vector<VideoPrompt> prompts = held_out_prompts(held_out, config.sample.measure_clips);
  if (prompts.empty()) return std::nullopt;
  VideoSampler::Request request{
      .prompts = prompts,
      .latent_frames = sampler.latent_frames_for(network.config, config.sample.frames),
      .sampler = sampler_settings(config.sample, objective),
      .negative_prompt = config.sample.negative_prompt,
      .batch = config.train.micro_batch_size,
      .erase_cache = false,
      .device = at::Device(config.train.device),
      .noise_PFCHW = {}};
  const std::vector<int64_t> chunks =
      chunk_pixel_frames(network.config, sampler.codec(), request.latent_frames);
  const auto measure = [&] {
    std::vector<analysis::CaptionedClip> clips;
    const auto videos = sampler.sample_pixels(network, request);
    for (size_t i = 0; i < videos.size(); ++i) clips.push_back({videos[i], prompts[i].text});
    return analysis::measure_clips(clips, chunks);
  };
  StageMeasures measures{measure(), std::nullopt};
  if (objective.causal()) {
    request.erase_cache = true;
    measures.without_cache = measure();
  }
  return measures;
}

}  // namespace vmla::trainer
