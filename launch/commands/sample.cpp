#include "launch/commands/sample.h"

#include "launch/guarded.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/local_weights.h"
#include "model/safetensors.h"
#include "trainer/checkpoint.h"
#include "trainer/config_yaml.h"
#include "trainer/media_info.h"
#include "trainer/objectives/registry.h"
#include "trainer/stage_measures.h"
#include "trainer/video_sampler.h"

#include <ATen/ATen.h>

#include <sstream>

namespace vmla::launch {
namespace {

std::vector<std::string> read_prompts(const SampleArgs& args) {
  if (args.prompt) return {*args.prompt};
  std::istringstream lines(io::read_text_file(args.prompts));
  std::vector<std::string> prompts;
  for (std::string line; std::getline(lines, line);) prompts.push_back(line);
  if (prompts.empty()) fail_user(args.prompts, ": holds no prompt; one line is one prompt");
  return prompts;
}

/// The role whose weights are sampled: the moving average where there is one, unless --weights raw.
std::string pick_role(const trainer::CheckpointData& checkpoint, const std::string& weights) {
  if (weights != "raw") {
    for (const char* role : {"generator_ema", "target_ema"}) {
      if (checkpoint.roles.count(role)) return role;
    }
  }
  if (!checkpoint.roles.count("generator")) fail_user("the checkpoint holds no generator");
  return "generator";
}

/// The checkpoint's own sampler, overridden by the command line.
model::SamplerSettings chosen_sampler(const SampleArgs& args,
                                      const trainer::TrainConfig& config,
                                      const trainer::Objective& objective) {
  model::SamplerSettings settings = trainer::sampler_settings(config.sample, objective);
  if (!args.sampler.empty()) settings.kind = model::parse_sampler(args.sampler);
  if (args.steps) settings.steps = *args.steps;
  // A few-step student has its guidance distilled into it (algorithms 9.1).
  if (settings.kind == model::SamplerKind::kFewStep) settings.guidance_scale = 1.0;
  if (args.guidance) settings.guidance_scale = *args.guidance;
  if (settings.steps < 1) fail_user("--steps ", settings.steps, ": at least 1 is needed");
  return settings;
}

/// `noise` of a --noise file: [prompts, F, C, H, W], or [F, C, H, W] for all prompts.
at::Tensor read_noise(const std::string& path,
                      int64_t prompts,
                      int64_t frames,
                      const trainer::ClipShape& clip) {
  if (path.empty()) return {};
  const auto file = model::read_safetensors(path);
  const auto found = file.tensors.find("noise");
  if (found == file.tensors.end()) fail_user(path, ": tensor 'noise' is missing");
  at::Tensor noise = found->second.to(at::kFloat).clone();
  if (noise.dim() == 4) noise = noise.unsqueeze(0).expand({prompts, -1, -1, -1, -1});
  const std::vector<int64_t> wanted = {prompts, frames, clip.channels, clip.height, clip.width};
  if (noise.sizes() != at::IntArrayRef(wanted)) {
    fail_user(path, ": tensor 'noise' is ", noise.sizes(), ", wanted ", at::IntArrayRef(wanted));
  }
  return noise;
}

}  // namespace

int cmd_sample(const SampleArgs& args) {
  const std::vector<std::string> prompts = read_prompts(args);
  const trainer::CheckpointData checkpoint = trainer::load_checkpoint(args.checkpoint);
  const trainer::TrainConfig config =
      trainer::parse_resolved(checkpoint.config_yaml, args.checkpoint + ": config");
  const trainer::MediaInfo media =
      trainer::read_media_info(checkpoint.data_position, args.checkpoint);
  const std::string role = pick_role(checkpoint, args.weights);
  model::FrozenWeights weights(checkpoint.model, checkpoint.roles.at(role), args.checkpoint);

  const auto objective = trainer::make_objective(config.objective, checkpoint.model);
  const trainer::VideoSampler sampler(media, !objective->causal());
  trainer::VideoSampler::Request request{
      .prompts = {},
      .latent_frames = sampler.latent_frames_for(checkpoint.model, args.frames),
      .sampler = chosen_sampler(args, config, *objective),
      .negative_prompt = args.negative_prompt.value_or(config.sample.negative_prompt),
      .batch = 1,
      .erase_cache = false,
      .device = at::kCPU,
      .noise_PFCHW = {}};
  for (const std::string& prompt : prompts)
    request.prompts.push_back({prompt, static_cast<uint64_t>(args.seed)});
  request.noise_PFCHW = read_noise(
      args.noise, static_cast<int64_t>(prompts.size()), request.latent_frames, media.clip);

  const auto records = trainer::sample_to_folder(
      sampler, {checkpoint.model, weights}, request, args.frames, args.out, args.save_latents);
  for (const auto& record : records) {
    double seconds = 0;
    for (double chunk : record.chunk_seconds) seconds += chunk;
    log::info(cat(args.out,
                  "/",
                  record.file,
                  ": ",
                  record.frames,
                  " frames, ",
                  static_cast<double>(record.frames) / seconds,
                  " frames/s, first chunk after ",
                  record.first_chunk_seconds,
                  " s, cache ",
                  record.cache_bytes,
                  " bytes  \"",
                  record.prompt,
                  "\""));
  }
  return kDone;
}

}  // namespace vmla::launch
