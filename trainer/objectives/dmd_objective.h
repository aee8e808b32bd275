#pragma once

#include "model/network/plan_cache.h"
#include "model/sampling/self_rollout.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/dmd_windows.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/objective.h"

/// Inside the objective `dmd`. Its sources: dmd.cpp evaluates the generator, dmd_scores.cpp the
/// scores and the critic, dmd_draws.cpp draws rollouts and exit steps, dmd_windows.cpp cuts
/// rollouts into clips, dmd_flops.cpp counts.
namespace vmla::trainer {

/// What the two scores predict for a noised clip, D_fake and D_real, and the normalised difference
/// G that the clip is moved by (docs/algorithms.md 10.5): [B, frames of the window, C, H, W] each.
struct DmdGradient {
  at::Tensor d_fake, d_real, gradient;
};

/// What the scores want of a whole rollout [B, F, C, H, W].
struct RolloutGradient {
  /// dL/dx of every frame, [B, F, C, H, W]; 0 for frames that no window trains.
  at::Tensor gradient;
  /// Each frame's share of the loss 0.5 mean(G²), [F].
  at::Tensor frame_loss;
  /// Mean |G| over what is trained, fp64 []: the metric dmd_gradient_norm.
  at::Tensor mean_size;
  /// For `vmla step`: the rollout, dL/dx, and D_fake, D_real and G of the last window.
  model::TensorMap details;
};

/// Shift of the sigma table that the published scores convert with, whatever the training shift is
/// (docs/algorithms.md 7.2). Used with quantized_sigma alone.
inline constexpr double kPublishedScoreShift = 8.0;

/// Distribution matching distillation over the student's own rollouts (docs/algorithms.md 10). Two
/// players: the generator, which is moved to where the real score finds its clips more probable
/// than the fake score does, and the fake score (critic), which learns the generator's current
/// clips. A rollout runs without gradients. With kv_grad `detached`, each chunk's exit pass is then
/// replayed and back-propagated alone, so that memory does not depend on the number of chunks.
///
/// Inputs of evaluate(), for both players:
///   text           [B, T, E]
///   rollout_noise  [B, F, C, H, W], what chunks start from; F frames are the rollout's length
///   renoise        [steps − 1, B, F, C, H, W]; draw k re-noises after denoising step k
///   exit_index     [], the step at which every chunk's denoising ends
///   tau            [B], integers in 0 ... 999: the scores' times before the shift
///   noise          [B, frames of a clip, C, H, W], what the scores' input is noised with
/// A rollout longer than a clip that is scored in W > 1 windows takes tau [W, B] and noise
/// [W, B, F, C, H, W]. The generator's update also takes negative_text. Optional:
///   first_chunk_exit_index   [], where the first chunk has steps of its own
///   context_noise            [B, F, C, H, W], where the context pass adds noise
///   denoising_steps, first_chunk_denoising_steps   timesteps as the network sees them, in place of
///                                                  the configured ones (`vmla step`)
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

  void check_clip(const ClipShape& clip) const override;
  void use_codec(std::shared_ptr<const model::VideoCodec> codec) override {
    codec_ = std::move(codec);
  }

  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override;
  std::vector<DrawSpec> draw_specs(const std::string& player, const ClipShape& clip) const override;
  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override;
  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override;

 private:
  /// FLOPs of the updates whose rollouts have `frames` frames.
  std::vector<PhaseFlops> update_flops(const ClipShape& clip,
                                       int64_t frames,
                                       const RoleModels& models) const;
  /// Latent frames of the shortest and of the longest rollout.
  std::pair<int64_t, int64_t> rollout_range(const ClipShape& clip) const;
  /// Latent frames of this step's rollouts: uniform over whole chunks in the range, the same for
  /// both players, all samples and all ranks.
  int64_t rollout_frames(const ClipShape& clip, const DrawContext& context) const;
  std::vector<ScoredWindow> windows(int64_t rollout_frames, int64_t clip_frames) const;
  /// Frames at the beginning of a later window that are not trained: its first chunk.
  int64_t untrained_frames() const {
    return model_.independent_first_frame ? 1 : model_.num_frame_per_block;
  }
  bool has_own_first_steps() const { return !config_.first_chunk_denoising_step_list.empty(); }
  /// Re-noisings that the chunk with the most steps may need; at least 1, so that no tensor is
  /// empty.
  int64_t renoise_count() const;
  bool adds_context_noise() const { return context_sigma() > 0; }
  /// Noise level of the context pass (docs/algorithms.md 6.3).
  double context_sigma() const;
  model::SelfRolloutRequest rollout_request(const model::TensorMap& inputs) const;
  /// Timesteps of the scores' input, [B, frames], fp64, on the CPU.
  at::Tensor score_times(const at::Tensor& tau_B, int64_t frames) const;
  /// The flow that a score predicts, under the bidirectional plan. `name` finds its plans.
  at::Tensor score_flow(const std::string& name,
                        const RoleNetwork& score,
                        const at::Tensor& noisy,
                        const at::Tensor& timesteps_BF,
                        const at::Tensor& text,
                        model::GradMode grad);
  /// Asks both scores about the clip x [B, frames, C, H, W]. No gradients are recorded.
  DmdGradient dmd_gradient(const at::Tensor& x,
                           const at::Tensor& noise,
                           const at::Tensor& tau_B,
                           const model::TensorMap& inputs,
                           const NetworkTable& networks);
  /// Asks the scores about every window of a rollout.
  RolloutGradient score_rollout(const at::Tensor& rollout,
                                const std::vector<ScoredWindow>& scored,
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
  model::ModelConfig model_;  // the student's
  Noising noising_;
  /// Converts a score's flow to clean latents: its sigma is noising_'s unless quantized.
  Noising score_noising_;
  /// Timesteps of the denoising steps as the network sees them: after the shift, descending.
  std::vector<double> steps_, first_steps_;
  std::shared_ptr<const model::VideoCodec> codec_;
  model::PlanCache rollout_plans_;
  /// By score: their sizes may differ, and so do prepared plans.
  std::map<std::string, model::PlanCache> score_plans_;
};

/// The part of tau or noise that belongs to one window: with several windows they have a leading
/// dimension of that size. UserError where they have another.
at::Tensor of_window(const at::Tensor& draws, size_t window, size_t windows);

}  // namespace vmla::trainer
