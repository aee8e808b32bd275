#include "model/network/attention_plan.h"
#include "model/network/plan_cache.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/phase_flops.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

/// Stage 1: teacher forcing of chunks (docs/algorithms.md 9.3). Each chunk has its own timestep and
/// sees the clean earlier chunks at t = 0, all in one forward over [clean frames ; noisy frames].
/// Loss = mean over frames of w(t) times the frame's mean squared error of the flow. Inputs of
/// evaluate(): clean_latents, noise, timesteps [B, F], text; with noise augmentation also
/// `context_timesteps` [B, F], to which the clean context is noised with the same eps.
class TeacherForcing : public Objective {
 public:
  TeacherForcing(const TeacherForcingConfig& config, const model::ModelConfig& model)
      : config_(config),
        model_(model),
        noising_(config.timestep_shift, config.quantized_sigma),
        weight_(config.timestep_shift) {}

  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override {
    const model::ModelConfig& m = models.at("generator");
    return generator_flops(plan_flops(m, model::teacher_forcing_plan(m, clip.frames), clip));
  }

  std::vector<DrawSpec> draw_specs(const std::string&, const ClipShape& clip) const override {
    std::vector<DrawSpec> specs = {noise_spec(clip), timesteps_spec(clip)};
    if (config_.noise_augmentation_max_timestep > 0)
      specs.push_back(timesteps_spec(clip, "context_timesteps"));
    return specs;
  }

  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override {
    const std::vector<int64_t> chunks = model::chunk_sizes(model_, clip.frames);
    model::TensorMap draws = {{"noise", draw_noise(player, clip, context)},
                              {"timesteps", draw_timesteps(player, chunks, noising_, context)}};
    if (config_.noise_augmentation_max_timestep > 0) {
      draws["context_timesteps"] = draw_context_timesteps(player, chunks, context);
    }
    return draws;
  }

  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override {
    const RoleNetwork& role = networks.at(player);
    const at::Tensor& clean = input_tensor(inputs, "clean_latents");
    const at::Tensor& timesteps = input_tensor(inputs, "timesteps");
    const at::Tensor& noise = input_tensor(inputs, "noise");
    const NoisyLatents x = noising_(clean, noise, timesteps);
    const auto& plan = plans_.get(role.network.config,
                                  model::teacher_forcing_plan(role.network.config, clean.size(1)),
                                  clean);
    // Undefined context timesteps stand for t = 0 everywhere.
    at::Tensor context = clean, context_timesteps;
    if (inputs.count("context_timesteps")) {
      context_timesteps = inputs.at("context_timesteps");
      context = noising_(clean, noise, context_timesteps).noisy_BFCHW;
    }
    const at::Tensor flow =
        model::teacher_forcing_forward(role.network,
                                       context,
                                       {x.noisy_BFCHW, timesteps, input_tensor(inputs, "text")},
                                       plan,
                                       {.grad = grad, .recompute = role.recompute},
                                       context_timesteps);
    const at::Tensor frame_loss = (flow - x.target_BFCHW).square().mean({2, 3, 4});
    emit({.total = (frame_loss * loss_weights(weight_, timesteps, frame_loss.options())).mean(),
          .metrics = {},
          .details = {{"frame_loss", frame_loss.detach()}, {"timesteps", timesteps}}},
         true);
  }

 private:
  /// Timesteps of the context [B, F]: uniform in [0, noise_augmentation_max_timestep), one a chunk,
  /// which is the low-noise end, as Causal-Forcing reads the key. A role name of its own keeps
  /// these draws apart from the timesteps of the noisy half.
  at::Tensor draw_context_timesteps(const std::string& player,
                                    const std::vector<int64_t>& chunks,
                                    const DrawContext& context) const {
    auto key = draw_key(player + ".context",
                        context,
                        kernels::Purpose::kTimestep,
                        kernels::Purpose::kValidationTimestep);
    std::vector<double> timesteps;
    for (int64_t b = 0; b < context.batch; ++b, ++key.sample) {
      for (size_t chunk = 0; chunk < chunks.size(); ++chunk) {
        const double t = kernels::uniform_at(key, chunk) *
                         static_cast<double>(config_.noise_augmentation_max_timestep);
        timesteps.insert(timesteps.end(), static_cast<size_t>(chunks[chunk]), t);
      }
    }
    return at::tensor(timesteps, at::kDouble).view({context.batch, -1});
  }

  TeacherForcingConfig config_;
  model::ModelConfig model_;
  Noising noising_;
  model::LossWeight weight_;
  model::PlanCache plans_{1};  // all clips of a stage have one shape
};

}  // namespace

std::unique_ptr<Objective> make_objective(const TeacherForcingConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<TeacherForcing>(config, model);
}

}  // namespace vmla::trainer
