#pragma once

#include "model/sampling/self_rollout.h"
#include "trainer/config/train_config.h"
#include "trainer/objectives/dmd_windows.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/objective.h"
#include "trainer/objectives/plan_cache.h"

/// Inside the objective `dmd`: dmd.h makes one. Its parts: dmd.cpp evaluates the two players,
/// dmd_scores.cpp asks the scores, dmd_draws.cpp plans and draws rollouts, dmd_flops.cpp counts.
namespace vmla::trainer {

/// Where the scores want a rollout to go (algorithms 7.3), and what they said.
struct DmdGradient {
  at::Tensor d_fake, d_real, gradient;  // [B, frames of the window, C, H, W]
};

/// The published scores have a sigma table of their own, whatever the training shift (algorithms
/// 4.2). Only quantized_sigma looks at it.
inline constexpr double kPublishedScoreShift = 8.0;

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
    return {
        {.name = "generator", .update_every = config_.dfake_gen_update_ratio, .rolls_out = true},
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
at::Tensor of_window(const at::Tensor& draws, size_t window, size_t windows);

}  // namespace vmla::trainer
