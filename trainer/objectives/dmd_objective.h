#pragma once

#include "model/network/plan_cache.h"
#include "model/sampling/self_rollout.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/dmd_windows.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/objective.h"

/// Inside the objective `dmd`. Its parts: dmd.cpp evaluates the two players,
/// dmd_scores.cpp asks the scores, dmd_draws.cpp plans and draws rollouts, dmd_flops.cpp counts.
namespace vmla::trainer {

/// Where the scores want a rollout to go (docs/algorithms.md 10.5), and what they said.
struct DmdGradient {
  at::Tensor d_fake, d_real, gradient;  // [B, frames of the window, C, H, W]
};

/// The published scores have a sigma table of their own, whatever the training shift
/// (docs/algorithms.md 7.2). Only quantized_sigma looks at it.
inline constexpr double kPublishedScoreShift = 8.0;

/// Asymmetric distribution matching distillation over the student's own rollouts
/// (docs/algorithms.md 10). The student rolls out without gradients; two bidirectional scores say
/// where the result should move; with kv_grad `detached` each chunk's exit pass is then replayed
/// and back-propagated alone, so that memory does not depend on the number of chunks.
///
/// Inputs of evaluate(), for both players: text, rollout_noise [B, F, C, H, W], renoise
/// [steps − 1, B, F, C, H, W] (draw k re-noises after step k), exit_index [], tau [B] (integers in
/// 0..999, before the shift) and noise (what the scores' input gets, [B, frames of a clip, C, H,
/// W]); the generator's also negative_text. Optional: denoising_steps (timesteps as the network
/// sees them), first_chunk_exit_index and first_chunk_denoising_steps, context_noise. A rollout
/// longer than a clip that is scored in W windows takes tau [W, B] and noise [W, B, F, C, H, W].
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
  bool has_own_first_steps() const { return !config_.first_chunk_denoising_step_list.empty(); }
  int64_t renoise_count() const;  // fresh noises that the longest chunk's steps may need
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
  model::PlanCache rollout_plans_;
  std::map<std::string, model::PlanCache> score_plans_;  // the scores may have other sizes
};

/// The w-th window's part of tau or noise, which have a leading axis when there are several.
at::Tensor of_window(const at::Tensor& draws, size_t window, size_t windows);

}  // namespace vmla::trainer
