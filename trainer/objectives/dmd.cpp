#include "trainer/objectives/dmd.h"

#include "model/attention_plan.h"
#include "model/config_rule.h"
#include "model/flops.h"
#include "model/io/error.h"
#include "model/self_rollout.h"
#include "trainer/objectives/dmd_windows.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/plan_cache.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace vmla::trainer {
namespace {

/// Where the scores want a rollout to go (algorithms 7.3), and what they said.
struct DmdGradient {
  at::Tensor d_fake, d_real, gradient;  // [B, frames of the window, C, H, W]
};

/// The published scores have a sigma table of their own, whatever the training shift (algorithms
/// 4.2). Only quantized_sigma looks at it.
constexpr double kPublishedScoreShift = 8.0;

class Dmd : public Objective {
 public:
  Dmd(const DmdConfig& config, const model::ModelConfig& model)
      : config_(config),
        model_(model),
        noising_(config.timestep_shift, config.quantized_sigma),
        score_noising_(kPublishedScoreShift, config.quantized_sigma),
        steps_(model::warped_step_list(config.denoising_step_list, config.timestep_shift)),
        first_steps_(config.first_chunk_denoising_step_list.empty()
                         ? steps_
                         : model::warped_step_list(config.first_chunk_denoising_step_list,
                                                   config.timestep_shift)) {}

  bool causal() const override { return true; }
  LearnsFrom learns_from() const override { return LearnsFrom::kPrompts; }
  double timestep_shift() const override { return config_.timestep_shift; }
  std::optional<std::string> negative_prompt() const override { return config_.negative_prompt; }
  std::optional<FewStepSchedule> few_step() const override {
    return FewStepSchedule{config_.denoising_step_list,
                           config_.first_chunk_denoising_step_list,
                           config_.context_noise};
  }
  void check_clip(const ClipShape& clip) const override;
  void use_codec(std::shared_ptr<const model::VideoCodec> codec) override {
    codec_ = std::move(codec);
  }

  std::vector<Role> roles() const override {
    return {{.name = "generator", .update_every = config_.dfake_gen_update_ratio},
            {.name = "real_score", .training = Training::kFrozen, .is_score = true},
            {.name = "fake_score",
             .optimizer = config_.fake_score_optimizer,
             .same_weights_as = "real_score",
             .is_score = true}};
  }

  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override;
  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override;
  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override;

 private:
  std::vector<PhaseFlops> step_flops(const ClipShape& clip,
                                     int64_t frames,
                                     const RoleModels& models) const;
  std::pair<int64_t, int64_t> rollout_range(const ClipShape& clip) const;  // fewest, most frames
  int64_t rollout_frames(const ClipShape& clip, const DrawContext& context) const;
  std::vector<ScoredWindow> windows(int64_t rollout_frames, int64_t clip_frames) const;
  /// Frames at the beginning of a later window that are not trained: its first chunk.
  int64_t untrained_frames() const {
    return model_.independent_first_frame ? 1 : model_.num_frame_per_block;
  }
  bool adds_context_noise() const { return context_sigma() > 0; }
  double context_sigma() const;
  model::SelfRolloutRequest rollout_request(const model::TensorMap& inputs) const;
  at::Tensor score_times(const at::Tensor& tau_B, int64_t frames) const;
  at::Tensor score_flow(const std::string& name,
                        const RoleNetwork& score,
                        const at::Tensor& noisy,
                        const at::Tensor& timesteps_BF,
                        const at::Tensor& text,
                        model::GradMode grad);
  DmdGradient dmd_gradient(const at::Tensor& x,
                           const at::Tensor& noise,
                           const at::Tensor& tau_B,
                           const model::TensorMap& inputs,
                           const NetworkTable& networks);
  void evaluate_fake_score(const RoleNetwork& fake_score,
                           const at::Tensor& rollout,
                           const model::TensorMap& inputs,
                           model::GradMode grad,
                           const EmitLoss& emit);
  void evaluate_generator(const RoleNetwork& generator,
                          const model::SelfRolloutRequest& request,
                          const model::TensorMap& inputs,
                          const NetworkTable& networks,
                          model::GradMode grad,
                          const EmitLoss& emit);

  DmdConfig config_;
  model::ModelConfig model_;
  Noising noising_;
  Noising score_noising_;  // flow to clean latents in a score: noising_'s sigma unless quantized
  std::vector<double> steps_, first_steps_;  // as the network sees them
  std::shared_ptr<const model::VideoCodec> codec_;
  model::PlanSet rollout_plans_;
  std::map<std::string, PlanCache> score_plans_;  // the scores may have other sizes
};

/// The w-th window's part of tau or noise, which have a leading axis when there are several.
at::Tensor of_window(const at::Tensor& draws, size_t window, size_t windows) {
  if (windows == 1) return draws;
  if (draws.size(0) != static_cast<int64_t>(windows)) {
    fail_user("tensors 'tau' and 'noise' must have ",
              windows,
              " windows in front, found ",
              draws.sizes(),
              ": that many are scored of this rollout");
  }
  return draws.select(0, static_cast<int64_t>(window));
}

std::vector<double> to_list(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).flatten().contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

/// The steps and the exit index that a rollout is given, under the names of `vmla step`.
model::ExitSchedule exit_schedule(const model::TensorMap& inputs,
                                  const std::string& prefix,
                                  const std::vector<double>& steps) {
  const std::string list = prefix + "denoising_steps", index = prefix + "exit_index";
  model::ExitSchedule schedule{inputs.contains(list) ? to_list(inputs.at(list)) : steps,
                               input_tensor(inputs, index).item().toLong()};
  const auto count = static_cast<int64_t>(schedule.timesteps.size());
  if (schedule.exit_index < 0 || schedule.exit_index >= count) {
    fail_user("tensor '", index, "' is ", schedule.exit_index, ", there are ", count, " steps");
  }
  return schedule;
}

std::vector<PhaseFlops> Dmd::training_flops(const ClipShape& clip, const RoleModels& models) const {
  // Every length that a rollout may have is as likely as the others.
  const auto [least, most] = rollout_range(clip);
  const int64_t lengths = (most - least) / model_.num_frame_per_block + 1;
  std::vector<PhaseFlops> sum;
  for (int64_t i = 0; i < lengths; ++i) {
    const auto phases = step_flops(clip, least + i * model_.num_frame_per_block, models);
    if (sum.empty()) sum = phases;
    for (size_t p = 0; i > 0 && p < phases.size(); ++p) sum[p].flops += phases[p].flops;
  }
  for (PhaseFlops& phase : sum) phase.flops /= static_cast<double>(lengths);
  return sum;
}

/// Per critic update: one rollout, forward and backward of the fake score, and a share of the
/// generator's update, which is another rollout, the scores, and the exit passes of the trained
/// chunks once more with gradients (straight through: the rollout's own exit passes have them).
std::vector<PhaseFlops> Dmd::step_flops(const ClipShape& clip,
                                        int64_t frames,
                                        const RoleModels& models) const {
  const model::ModelConfig& student = models.at("generator");
  const auto grid = model::token_grid(student, clip.height, clip.width);
  const auto scored = windows(frames, clip.frames);
  const auto passes = [&](const std::vector<double>& steps) {
    const auto count = static_cast<double>(steps.size());
    return config_.last_step_only ? count : (count + 1) / 2;
  };
  double rollout = 0, trained = 0;
  int64_t first = 0;
  for (const int64_t count : model::chunk_sizes(student, frames)) {
    const auto plan =
        model::cached_plan(model::attended_context(student, first, count), first, count);
    const double pass = model::forward_flops(student, plan, grid.rows * grid.cols).total();
    const double fill = first + count < frames ? 1 : 0;
    rollout += pass * (passes(first == 0 ? first_steps_ : steps_) + fill);
    first += count;
    if (first > scored.front().gradient_begin) trained += pass;
  }
  double fake = 0, real = 0;
  for (const ScoredWindow& window : scored) {
    const auto plan = model::bidirectional_plan(window.frames());
    fake += plan_flops(models.at("fake_score"), plan, clip);
    real += plan_flops(models.at("real_score"), plan, clip);
  }
  const double share = 1.0 / static_cast<double>(config_.dfake_gen_update_ratio);
  const double guided = config_.guidance_scale == 0.0 ? 1 : 2;
  const double replay = config_.kv_grad == "straight_through" ? 0 : trained;
  return {{"rollout", "generator", rollout * (1 + share)},
          {"scores", "fake_score", fake * share},
          {"scores", "real_score", guided * real * share},
          {"forward", "generator", replay * share},
          {"backward", "generator", 2 * trained * share},
          {"forward", "fake_score", fake},
          {"backward", "fake_score", 2 * fake}};
}

std::pair<int64_t, int64_t> Dmd::rollout_range(const ClipShape& clip) const {
  const int64_t least = config_.min_rollout_frames > 0 ? config_.min_rollout_frames : clip.frames;
  return {least, std::max(config_.max_rollout_frames, least)};
}

void Dmd::check_clip(const ClipShape& clip) const {
  const char* key = "objective.dmd.max_rollout_frames";
  const int64_t most = config_.max_rollout_frames;
  if (most == 0) return;
  if (config_.min_rollout_frames == 0 && most < clip.frames) {
    fail_rule(key,
              most,
              " is below a clip (",
              clip.frames,
              " latent frames), the shortest rollout while min_rollout_frames is 0");
  }
  if (most > clip.frames && clip.frames <= untrained_frames()) {
    fail_rule(key,
              most,
              ": clips of ",
              clip.frames,
              " latent frames are one chunk, and the first chunk of a later window is not "
              "trained; use longer clips, or 0");
  }
}

int64_t Dmd::rollout_frames(const ClipShape& clip, const DrawContext& context) const {
  const auto [least, most] = rollout_range(clip);
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

model::TensorMap Dmd::draws(const std::string& player,
                            const ClipShape& clip,
                            const DrawContext& context) const {
  using kernels::Purpose;
  const int64_t frames = rollout_frames(clip, context);
  const int64_t scored = std::min(frames, clip.frames);
  const auto windows_count = static_cast<int64_t>(windows(frames, clip.frames).size());
  const auto most_steps = static_cast<int64_t>(std::max(steps_.size(), first_steps_.size()));
  // A validation draw is the same for ever: its step is 0, and its purposes need not differ.
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
  draws["renoise"] = normals(Purpose::kRenoise, std::max<int64_t>(most_steps - 1, 1), frames);
  const at::Tensor noise = normals(Purpose::kScoreNoise, windows_count, scored);
  draws["noise"] = windows_count == 1 ? noise.squeeze(0) : noise;
  if (adds_context_noise())
    draws["context_noise"] = normals(Purpose::kContextNoise, 1, frames).squeeze(0);

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

  // One exit for all samples of a step: the ranks of a run must agree on it.
  auto exit_key = draw_key(player, context, Purpose::kExitStep, Purpose::kExitStep);
  exit_key.sample = 0;
  const auto exit_of = [&](const std::vector<double>& steps, uint64_t which) {
    const auto count = static_cast<int64_t>(steps.size());
    return at::scalar_tensor(
        config_.last_step_only ? count - 1 : kernels::uniform_index(exit_key, count, which),
        at::kLong);
  };
  draws["exit_index"] = exit_of(steps_, 0);
  if (!config_.first_chunk_denoising_step_list.empty())
    draws["first_chunk_exit_index"] = exit_of(first_steps_, 1);
  return draws;
}

model::SelfRolloutRequest Dmd::rollout_request(const model::TensorMap& inputs) const {
  model::SelfRolloutRequest request;
  request.text_BTE = input_tensor(inputs, "text");
  request.noise_BFCHW = input_tensor(inputs, "rollout_noise");
  request.schedule = exit_schedule(inputs, "", steps_);
  request.first_schedule = config_.first_chunk_denoising_step_list.empty()
                               ? request.schedule
                               : exit_schedule(inputs, "first_chunk_", first_steps_);
  if (request.schedule.exit_index > 0 || request.first_schedule.exit_index > 0)
    request.renoise_KBFCHW = input_tensor(inputs, "renoise");
  request.context_timestep = config_.context_noise;
  request.context_sigma = context_sigma();
  if (adds_context_noise()) request.context_noise_BFCHW = input_tensor(inputs, "context_noise");
  request.quantized_sigmas = noising_.quantized_sigmas();
  return request;
}

void Dmd::evaluate(const std::string& player,
                   const model::TensorMap& inputs,
                   const NetworkTable& networks,
                   model::GradMode grad,
                   const EmitLoss& emit) {
  const model::SelfRolloutRequest request = rollout_request(inputs);
  if (player == "fake_score") {
    const at::Tensor rollout =
        model::self_rollout(networks.at("generator").network, request, rollout_plans_)
            .latents_BFCHW;
    evaluate_fake_score(networks.at(player), rollout, inputs, grad, emit);
  } else {
    evaluate_generator(networks.at(player), request, inputs, networks, grad, emit);
  }
}

/// t of the scores: tau under the shift, clamped; the same for all frames of a sample: [B, F],
/// fp64.
at::Tensor Dmd::score_times(const at::Tensor& tau_B, int64_t frames) const {
  const double shift = config_.timestep_shift;
  const at::Tensor u = tau_B.to(at::kDouble) / model::kTrainTimesteps;
  const at::Tensor t = model::kTrainTimesteps * shift * u / (1.0 + (shift - 1.0) * u);
  return t.clamp(config_.score_timestep_range[0], config_.score_timestep_range[1])
      .unsqueeze(1)
      .expand({-1, frames})
      .contiguous();
}

at::Tensor Dmd::score_flow(const std::string& name,
                           const RoleNetwork& score,
                           const at::Tensor& noisy,
                           const at::Tensor& timesteps_BF,
                           const at::Tensor& text,
                           model::GradMode grad) {
  const auto& plan = score_plans_[name].get(score.network.config, noisy, model::bidirectional_plan);
  return model::dit_forward(score.network,
                            {noisy, timesteps_BF, text},
                            plan,
                            {},
                            {.grad = grad, .recompute = score.recompute})
      .flow_BFCHW;
}

DmdGradient Dmd::dmd_gradient(const at::Tensor& x,
                              const at::Tensor& noise,
                              const at::Tensor& tau_B,
                              const model::TensorMap& inputs,
                              const NetworkTable& networks) {
  const at::NoGradGuard no_grad;
  const at::Tensor t = score_times(tau_B, x.size(1));
  const at::Tensor sigma = score_noising_.sigma(t, x);
  const at::Tensor noisy = noising_(x, noise, t).noisy_BFCHW;
  const at::Tensor& text = input_tensor(inputs, "text");
  const auto none = model::GradMode::kNone;
  const RoleNetwork &fake = networks.at("fake_score"), &real = networks.at("real_score");
  DmdGradient result;
  result.d_fake =
      clean_from_flow(noisy, score_flow("fake_score", fake, noisy, t, text, none), sigma);
  if (config_.guidance_scale == 0.0) {
    result.d_real =
        clean_from_flow(noisy, score_flow("real_score", real, noisy, t, text, none), sigma);
  } else {
    const at::Tensor both =
        with_negative(text, input_tensor(inputs, "negative_text"), real.network.config.text_len);
    const auto flows =
        score_flow("real_score", real, at::cat({noisy, noisy}, 0), at::cat({t, t}, 0), both, none)
            .chunk(2, 0);
    const at::Tensor positive = clean_from_flow(noisy, flows[0], sigma);
    const at::Tensor negative = clean_from_flow(noisy, flows[1], sigma);
    result.d_real = positive + config_.guidance_scale * (positive - negative);
  }
  // Where x is what the real score says, to the bit, there is nowhere to go: 0 instead of 0 / 0.
  const at::Tensor scale = (x - result.d_real).abs().mean({1, 2, 3, 4}, /*keepdim=*/true);
  const at::Tensor difference = result.d_fake - result.d_real;
  result.gradient = at::where(scale == 0, at::zeros_like(difference), difference / scale);
  return result;
}

void Dmd::evaluate_fake_score(const RoleNetwork& fake_score,
                              const at::Tensor& rollout,
                              const model::TensorMap& inputs,
                              model::GradMode grad,
                              const EmitLoss& emit) {
  const at::Tensor &tau = input_tensor(inputs, "tau"), &noise = input_tensor(inputs, "noise");
  const auto scored = windows(rollout.size(1), noise.size(noise.dim() - 4));
  for (size_t w = 0; w < scored.size(); ++w) {
    const at::Tensor x = window_latents(scored[w], rollout, codec_.get());
    const at::Tensor t = score_times(of_window(tau, w, scored.size()), x.size(1));
    const NoisyLatents noisy = noising_(x, of_window(noise, w, scored.size()), t);
    at::Tensor flow = score_flow(
        "fake_score", fake_score, noisy.noisy_BFCHW, t, input_tensor(inputs, "text"), grad);
    // To clean latents by the score's table, back to a flow by the training one.
    if (config_.quantized_sigma) flow = flow * (score_noising_.sigma(t, x) / noising_.sigma(t, x));
    const at::Tensor loss =
        (flow - noisy.target_BFCHW).square().mean() / static_cast<double>(scored.size());
    emit({.total = loss, .metrics = {}, .details = {{"rollout", rollout}}}, w + 1 == scored.size());
  }
}

void Dmd::evaluate_generator(const RoleNetwork& generator,
                             const model::SelfRolloutRequest& request,
                             const model::TensorMap& inputs,
                             const NetworkTable& networks,
                             model::GradMode grad,
                             const EmitLoss& emit) {
  const at::Tensor &tau = input_tensor(inputs, "tau"), &noise = input_tensor(inputs, "noise");
  const auto scored = windows(request.noise_BFCHW.size(1), noise.size(noise.dim() - 4));
  const model::ForwardOptions options{.grad = grad, .recompute = generator.recompute};
  const bool one_graph = config_.kv_grad == "straight_through" && grad != model::GradMode::kNone;
  // The graph holds a clip's length of frames: the chunk behind the front frame is not scored, but
  // later chunks reach its keys (algorithms 7.2.3).
  const int64_t graph_begin = scored.front().has_front ? scored.front().begin - 1 : 0;

  model::SelfRollout rollout;
  at::Tensor x = one_graph ? model::self_rollout_straight_through(
                                 generator.network, request, rollout_plans_, graph_begin, options)
                           : at::Tensor();
  if (!one_graph) {
    rollout = model::self_rollout(generator.network, request, rollout_plans_);
    x = rollout.latents_BFCHW;
  }
  const at::Tensor fixed = x.detach();

  // dL/dx of every frame, and the frames' shares of the loss 0.5 mean(gradient²).
  at::Tensor gradient = at::zeros_like(fixed);
  at::Tensor frame_loss = at::zeros({fixed.size(1)}, fixed.options());
  model::TensorMap details = {{"rollout", fixed}};
  double gradient_size = 0;
  for (size_t w = 0; w < scored.size(); ++w) {
    const ScoredWindow& window = scored[w];
    const DmdGradient scores = dmd_gradient(window_latents(window, fixed, codec_.get()),
                                            of_window(noise, w, scored.size()),
                                            of_window(tau, w, scored.size()),
                                            inputs,
                                            networks);
    details["d_fake"] = scores.d_fake;
    details["d_real"] = scores.d_real;
    details["dmd_gradient"] = scores.gradient;
    const int64_t trained = window.end - window.gradient_begin;
    const at::Tensor part = scores.gradient.narrow(1, scores.gradient.size(1) - trained, trained);
    const double share =
        1.0 / (static_cast<double>(part.numel()) * static_cast<double>(scored.size()));
    gradient.narrow(1, window.gradient_begin, trained).copy_(part * share);
    frame_loss.narrow(0, window.gradient_begin, trained)
        .copy_(part.square().sum({0, 2, 3, 4}) * (0.5 * share));
    gradient_size += part.abs().mean().item<double>() / static_cast<double>(scored.size());
  }
  details["grad.rollout"] = gradient;
  const std::map<std::string, double> metrics = {{"dmd_gradient_norm", gradient_size}};

  // The loss has the value 0.5 mean(gradient²) and, whatever rounding does, the derivative
  // `gradient`.
  const auto surrogate = [&](const at::Tensor& output, int64_t first, int64_t count) {
    const at::Tensor pull = (output * gradient.narrow(1, first, count)).sum();
    return frame_loss.narrow(0, first, count).sum() + (pull - pull.detach());
  };
  if (one_graph || grad == model::GradMode::kNone) {
    emit({.total = surrogate(x, 0, x.size(1)), .metrics = metrics, .details = details}, true);
    return;
  }
  std::vector<const model::ExitPass*> trained;
  for (const model::ExitPass& pass : rollout.passes) {
    if (pass.first_frame + pass.noisy_BFCHW.size(1) > scored.front().gradient_begin)
      trained.push_back(&pass);
  }
  for (const model::ExitPass* pass : trained) {
    const bool last = pass == trained.back();
    const at::Tensor output =
        model::replay_exit_pass(generator.network, *pass, request.text_BTE, options);
    LossTerms terms{.total = surrogate(output, pass->first_frame, output.size(1)),
                    .metrics = {},
                    .details = {}};
    if (last) {
      terms.metrics = metrics;
      terms.details = details;
    }
    emit(terms, last);
  }
}

}  // namespace

std::unique_ptr<Objective> make_dmd(const DmdConfig& config, const model::ModelConfig& model) {
  return std::make_unique<Dmd>(config, model);
}

}  // namespace vmla::trainer
