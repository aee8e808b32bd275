#include "model/network/attention_plan.h"
#include "model/network/plan_cache.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/phase_flops.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

/// Stage 0: bidirectional flow matching of whole clips (docs/algorithms.md 9.1), one timestep a
/// clip: loss = mean (v_θ(x_t, t) − (eps − x0))². Inputs of evaluate(): clean_latents, noise,
/// timesteps [B, F] (or [B]), text.
class FlowMatching : public Objective {
 public:
  FlowMatching(const FlowMatchingConfig& config, const model::ModelConfig& model)
      : model_(model), noising_(config.timestep_shift, config.quantized_sigma) {}

  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override {
    const model::ModelConfig& m = models.at("generator");
    return generator_flops(plan_flops(m, model::bidirectional_plan(clip.frames), clip));
  }

  std::vector<DrawSpec> draw_specs(const std::string&, const ClipShape& clip) const override {
    return {noise_spec(clip), timesteps_spec(clip)};
  }

  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override {
    return {{"noise", draw_noise(player, clip, context)},
            {"timesteps", draw_timesteps(player, {clip.frames}, noising_, context)}};
  }

  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override {
    const RoleNetwork& role = networks.at(player);
    const at::Tensor& clean = input_tensor(inputs, "clean_latents");
    at::Tensor timesteps = input_tensor(inputs, "timesteps");
    if (timesteps.dim() == 1) timesteps = timesteps.unsqueeze(1).expand({-1, clean.size(1)});
    const NoisyLatents x = noising_(clean, input_tensor(inputs, "noise"), timesteps);
    const auto& plan =
        plans_.get(role.network.config, model::bidirectional_plan(clean.size(1)), clean);
    const at::Tensor flow =
        model::dit_forward(role.network,
                           {x.noisy_BFCHW, timesteps, input_tensor(inputs, "text")},
                           plan,
                           {},
                           {.grad = grad, .recompute = role.recompute})
            .flow_BFCHW;
    const at::Tensor frame_loss = (flow - x.target_BFCHW).square().mean({2, 3, 4});
    emit({.total = frame_loss.mean(),
          .metrics = {},
          .details = {{"frame_loss", frame_loss.detach()}, {"timesteps", timesteps}}},
         true);
  }

 private:
  model::ModelConfig model_;
  Noising noising_;
  model::PlanCache plans_{1};  // all clips of a stage have one shape
};

}  // namespace

std::unique_ptr<Objective> make_objective(const FlowMatchingConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<FlowMatching>(config, model);
}

}  // namespace vmla::trainer
