#include "model/config/config_rule.h"
#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/objectives/dmd_objective.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::trainer {
namespace {

std::vector<double> to_list(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).flatten().contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

/// The steps and the exit index of a rollout: `prefix` is "" or "first_chunk_". UserError where the
/// index is not that of a step.
model::ExitSchedule exit_schedule(const model::TensorMap& inputs,
                                  const std::string& prefix,
                                  const std::vector<double>& steps) {
  const std::string list = prefix + "denoising_steps", index = prefix + "exit_index";
  model::ExitSchedule schedule{inputs.contains(list) ? to_list(inputs.at(list)) : steps,
                               input_tensor(inputs, index).item().toLong()};
  const auto count = static_cast<int64_t>(schedule.timesteps.size());
  if (schedule.exit_index < 0 || schedule.exit_index >= count) {
    fail_user("tensor '{}' is {}, but there are {} steps: it must lie in 0..{}",
              index,
              schedule.exit_index,
              count,
              count - 1);
  }
  return schedule;
}

}  // namespace

std::pair<int64_t, int64_t> Dmd::rollout_range(const ClipShape& clip) const {
  const int64_t least = config_.min_rollout_frames > 0 ? config_.min_rollout_frames : clip.frames;
  return {least, std::max(config_.max_rollout_frames, least)};
}

void Dmd::check_clip(const ClipShape& clip) const {
  const char* key = "objective.dmd.max_rollout_frames";
  const int64_t most = config_.max_rollout_frames;
  if (most == 0) return;  // every rollout is a clip long
  if (config_.min_rollout_frames == 0 && most < clip.frames) {
    fail_rule(
        key,
        "{} is below a clip ({} latent frames), the shortest rollout while min_rollout_frames is 0",
        most,
        clip.frames);
  }
  if (most > clip.frames && clip.frames <= untrained_frames()) {
    fail_rule(key,
              "{}: clips of {} latent frames are one chunk, and the first chunk of a later window "
              "is not trained; use longer clips, or 0",
              most,
              clip.frames);
  }
}

int64_t Dmd::rollout_frames(const ClipShape& clip, const DrawContext& context) const {
  const auto [least, most] = rollout_range(clip);
  // An address without role and sample: the players of a step roll out equally long.
  const int64_t chunk = model_.num_frame_per_block;
  const kernels::DrawKey key{.seed = context.seed,
                             .step = static_cast<uint64_t>(context.step),
                             .purpose = kernels::Purpose::kRolloutLength,
                             .role = 0,
                             .sample = 0};
  return least + chunk * kernels::uniform_index(key, (most - least) / chunk + 1);
}

std::vector<ScoredWindow> Dmd::windows(int64_t frames, int64_t clip_frames) const {
  return scored_windows(frames, clip_frames, untrained_frames(), config_.scored_windows == "all");
}

double Dmd::context_sigma() const {
  if (config_.quantized_sigma)
    return model::quantized_sigma(config_.context_noise, noising_.quantized_sigmas());
  return config_.context_noise / model::kTrainTimesteps;
}

std::vector<DrawSpec> Dmd::draw_specs(const std::string&, const ClipShape& clip) const {
  const int64_t frames = rollout_range(clip).second, scored = std::min(frames, clip.frames);
  const auto windows_count = static_cast<int64_t>(windows(frames, clip.frames).size());
  const auto latents = [&](std::vector<int64_t> front, int64_t length) {
    front.insert(front.end(), {DrawSpec::kBatch, length, clip.channels, clip.height, clip.width});
    return front;
  };
  // Several windows have a dimension of their own in front.
  const auto by_window =
      windows_count == 1 ? std::vector<int64_t>{} : std::vector<int64_t>{windows_count};
  std::vector<int64_t> tau = by_window;
  tau.push_back(DrawSpec::kBatch);
  std::vector<DrawSpec> specs = {{"rollout_noise", latents({}, frames)},
                                 {"renoise", latents({renoise_count()}, frames)},
                                 {"noise", latents(by_window, scored)},
                                 {"tau", tau, at::kLong}};
  if (adds_context_noise()) specs.push_back({"context_noise", latents({}, frames)});
  const auto exit_of = [](const char* name, const std::vector<double>& steps) {
    return DrawSpec{name, {}, at::kLong, static_cast<int64_t>(steps.size())};
  };
  specs.push_back(exit_of("exit_index", steps_));
  if (has_own_first_steps()) specs.push_back(exit_of("first_chunk_exit_index", first_steps_));
  return specs;
}

int64_t Dmd::renoise_count() const {
  const auto most_steps = static_cast<int64_t>(std::max(steps_.size(), first_steps_.size()));
  return std::max<int64_t>(most_steps - 1, 1);
}

model::TensorMap Dmd::draws(const std::string& player,
                            const ClipShape& clip,
                            const DrawContext& context) const {
  using kernels::Purpose;
  const int64_t frames = rollout_frames(clip, context);
  const int64_t scored = std::min(frames, clip.frames);
  const auto windows_count = static_cast<int64_t>(windows(frames, clip.frames).size());
  // Standard normals [count, B, length, C, H, W]: drawn sample by sample, so that a sample's do not
  // depend on the micro-batch, then transposed. A validation has no purposes of its own here: it
  // draws what step 0 draws, each time.
  const auto normals = [&](Purpose purpose, int64_t count, int64_t length) {
    const auto key = draw_key(player, context, purpose, purpose);
    return kernels::normal_batch(key,
                                 key.sample,
                                 context.batch,
                                 {count, length, clip.channels, clip.height, clip.width})
        .transpose(0, 1)
        .contiguous();
  };
  model::TensorMap draws;
  draws["rollout_noise"] = normals(Purpose::kRolloutNoise, 1, frames).squeeze(0);
  draws["renoise"] = normals(Purpose::kRenoise, renoise_count(), frames);
  const at::Tensor noise = normals(Purpose::kScoreNoise, windows_count, scored);
  draws["noise"] = windows_count == 1 ? noise.squeeze(0) : noise;
  if (adds_context_noise())
    draws["context_noise"] = normals(Purpose::kContextNoise, 1, frames).squeeze(0);

  // tau, uniform over min_score_timestep ... 999; a window's is number w of its sample's address.
  auto key = draw_key(player, context, Purpose::kScoreTimestep, Purpose::kScoreTimestep);
  const int64_t choices = static_cast<int64_t>(model::kTrainTimesteps) - config_.min_score_timestep;
  at::Tensor tau = at::empty({windows_count, context.batch}, at::kLong);
  for (int64_t b = 0; b < context.batch; ++b, ++key.sample) {
    for (int64_t w = 0; w < windows_count; ++w) {
      tau[w][b] = config_.min_score_timestep +
                  kernels::uniform_index(key, choices, static_cast<uint64_t>(w));
    }
  }
  draws["tau"] = windows_count == 1 ? tau.squeeze(0) : tau;

  // One exit step for all chunks and samples of the update, hence the same on all ranks: their
  // networks gather weights together, pass by pass.
  auto exit_key = draw_key(player, context, Purpose::kExitStep, Purpose::kExitStep);
  exit_key.sample = 0;
  const auto exit_of = [&](const std::vector<double>& steps, uint64_t which) {
    const auto count = static_cast<int64_t>(steps.size());
    return at::scalar_tensor(
        config_.last_step_only ? count - 1 : kernels::uniform_index(exit_key, count, which),
        at::kLong);
  };
  draws["exit_index"] = exit_of(steps_, 0);
  if (has_own_first_steps()) draws["first_chunk_exit_index"] = exit_of(first_steps_, 1);
  return draws;
}

model::SelfRolloutRequest Dmd::rollout_request(const model::TensorMap& inputs) const {
  model::SelfRolloutRequest request;
  request.text_BTE = input_tensor(inputs, "text");
  request.noise_BFCHW = input_tensor(inputs, "rollout_noise");
  request.schedule = exit_schedule(inputs, "", steps_);
  request.first_schedule = has_own_first_steps()
                               ? exit_schedule(inputs, "first_chunk_", first_steps_)
                               : request.schedule;
  if (request.schedule.exit_index > 0 || request.first_schedule.exit_index > 0)
    request.renoise_KBFCHW = input_tensor(inputs, "renoise");
  request.context_timestep = config_.context_noise;
  request.context_sigma = context_sigma();
  if (adds_context_noise()) request.context_noise_BFCHW = input_tensor(inputs, "context_noise");
  request.quantized_sigmas = noising_.quantized_sigmas();
  return request;
}

}  // namespace vmla::trainer
