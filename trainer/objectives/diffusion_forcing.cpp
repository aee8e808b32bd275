#include "model/network/attention_plan.h"
#include "model/network/plan_cache.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/phase_flops.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

/// The baseline of stage 1: chunk-causal flow matching (docs/algorithms.md 9.2). A chunk sees the
/// earlier chunks as noisy as they are, each at its own timestep, where teacher forcing shows clean
/// ones; so the sequence is not doubled. Loss = mean over frames of w(t) times the frame's mean
/// squared error of the flow. Inputs of evaluate(): clean_latents, noise, timesteps [B, F], text.
class DiffusionForcing : public Objective {
 public:
  DiffusionForcing(const DiffusionForcingConfig& config, const model::ModelConfig& model)
      : config_(config),
        model_(model),
        noising_(config.timestep_shift, config.quantized_sigma),
        weight_(config.timestep_shift) {}

  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override {
    const model::ModelConfig& m = models.at("generator");
    return generator_flops(plan_flops(m, model::chunk_causal_plan(m, clip.frames), clip));
  }

  std::vector<DrawSpec> draw_specs(const std::string&, const ClipShape& clip) const override {
    return {noise_spec(clip), timesteps_spec(clip)};
  }

  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override {
    const std::vector<int64_t> chunks = model::chunk_sizes(model_, clip.frames);
    return {{"noise", draw_noise(player, clip, context)},
            {"timesteps", draw_timesteps(player, chunks, noising_, context)}};
  }

  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override {
    const RoleNetwork& role = networks.at(player);
    const at::Tensor& clean = input_tensor(inputs, "clean_latents");
    const at::Tensor& timesteps = input_tensor(inputs, "timesteps");
    const NoisyLatents x = noising_(clean, input_tensor(inputs, "noise"), timesteps);
    const auto& plan = plans_.get(
        role.network.config, model::chunk_causal_plan(role.network.config, clean.size(1)), clean);
    const at::Tensor flow =
        model::dit_forward(role.network,
                           {x.noisy_BFCHW, timesteps, input_tensor(inputs, "text")},
                           plan,
                           {},
                           {.grad = grad, .recompute = role.recompute})
            .flow_BFCHW;
    const at::Tensor frame_loss = (flow - x.target_BFCHW).square().mean({2, 3, 4});
    const at::Tensor weights = loss_weights(weight_, timesteps, frame_loss.options());
    emit({.total = (frame_loss * weights).mean(),
          .metrics = {},
          .details = {{"frame_loss", frame_loss.detach()}, {"timesteps", timesteps}}},
         true);
  }

 private:
  DiffusionForcingConfig config_;
  model::ModelConfig model_;
  Noising noising_;
  model::LossWeight weight_;
  model::PlanCache plans_{1};  // all clips of a stage have one shape
};

}  // namespace

std::unique_ptr<Objective> make_objective(const DiffusionForcingConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<DiffusionForcing>(config, model);
}

}  // namespace vmla::trainer
