#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/plan_cache.h"
#include "model/sampling/guidance.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/phase_flops.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

/// Causal consistency distillation (docs/algorithms.md 9.5). Between neighbours t > t' of a fixed
/// grid, one Euler step of the guided teacher leads from x_t to x_t'; the student's prediction of
/// x0 at (x_t, t) shall equal that of its moving average at (x_t', t'). All three see the clean
/// earlier chunks, under the plan of teacher forcing. Inputs of evaluate(): clean_latents, noise,
/// index [B] (of t in the grid), text and, where the teacher guides, negative_text.
class ConsistencyDistillation : public Objective {
 public:
  ConsistencyDistillation(const ConsistencyConfig& config, const model::ModelConfig& model)
      : config_(config),
        model_(model),
        noising_(config.timestep_shift, false),
        grid_(model::timestep_grid(config.discrete_cd_n, config.timestep_shift)) {
    grid_.push_back(0.0);  // t_N, the clean end: the neighbour of the last drawn point
  }

  /// One or two forwards of the teacher, one of the target, forward and backward of the student.
  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override {
    const auto forward = [&](const char* role) {
      const model::ModelConfig& m = models.at(role);
      return plan_flops(m, model::teacher_forcing_plan(m, clip.frames), clip);
    };
    std::vector<PhaseFlops> phases = generator_flops(forward("generator"));
    phases.push_back({"teacher", "teacher", (guided() ? 2 : 1) * forward("teacher")});
    phases.push_back({"target", "target_ema", forward("target_ema")});
    return phases;
  }

  std::vector<DrawSpec> draw_specs(const std::string&, const ClipShape& clip) const override {
    return {noise_spec(clip), {"index", {DrawSpec::kBatch}, at::kLong}};
  }

  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override {
    auto key = draw_key(player,
                        context,
                        kernels::Purpose::kConsistencyIndex,
                        kernels::Purpose::kValidationTimestep);
    // index + 1 must be in the grid; without include_endpoint it must not be the clean end either.
    const int64_t choices = config_.discrete_cd_n - (config_.include_endpoint ? 0 : 1);
    std::vector<int64_t> indices;
    for (int64_t b = 0; b < context.batch; ++b, ++key.sample)
      indices.push_back(kernels::uniform_index(key, choices));
    return {{"noise", draw_noise(player, clip, context)},
            {"index", at::tensor(indices, at::kLong)}};
  }

  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override {
    const RoleNetwork& student = networks.at(player);
    const at::Tensor& clean = input_tensor(inputs, "clean_latents");
    const at::Tensor& text = input_tensor(inputs, "text");
    const at::Tensor& index = input_tensor(inputs, "index");
    const auto& plan =
        plans_.get(student.network.config,
                   model::teacher_forcing_plan(student.network.config, clean.size(1)),
                   clean);
    const at::Tensor t = grid_times(index, 0, clean.size(1)),
                     t_next = grid_times(index, 1, clean.size(1));
    const at::Tensor sigma = noising_.sigma(t, clean), sigma_next = noising_.sigma(t_next, clean);
    const at::Tensor x_t = noising_(clean, input_tensor(inputs, "noise"), t).noisy_BFCHW;

    // x_t' = x_t - (sigma - sigma') v_φ. Teacher and target record no gradient: theirs are the
    // empty forward options.
    const at::Tensor velocity = teacher_flow(networks.at("teacher"), clean, x_t, t, inputs, plan);
    const at::Tensor x_next = x_t - (sigma - sigma_next) * velocity;
    // At t' = 0 sigma' is 0 and the target is x_t' itself, whatever the network predicts there.
    const at::Tensor target = clean_from_flow(
        x_next,
        model::teacher_forcing_forward(
            networks.at("target_ema").network, clean, {x_next, t_next, text}, plan, {}),
        sigma_next);
    const at::Tensor prediction = clean_from_flow(
        x_t,
        model::teacher_forcing_forward(student.network,
                                       clean,
                                       {x_t, t, text},
                                       plan,
                                       {.grad = grad, .recompute = student.recompute}),
        sigma);
    const at::Tensor difference = prediction - target;
    const at::Tensor frame_loss = difference.square().mean({2, 3, 4});
    emit({.total = frame_loss.mean(),
          .metrics = {},
          .details = {{"frame_loss", frame_loss.detach()},
                      {"timesteps", t},
                      {"x_next", x_next},
                      {"target", target},
                      {"prediction", prediction.detach()},
                      {"grad.prediction",
                       difference.detach() * (2.0 / static_cast<double>(difference.numel()))}}},
         true);
  }

 private:
  bool guided() const { return config_.guidance_scale != 1.0; }

  /// The grid's timestep at index + offset, the same for every frame of a clip: [B, frames], fp64,
  /// on the CPU. UserError where an index of a user's file leaves the grid.
  at::Tensor grid_times(const at::Tensor& index_B, int64_t offset, int64_t frames) const {
    const at::Tensor table = at::tensor(grid_, at::kDouble);
    const at::Tensor places = index_B.to(at::kLong) + offset;
    const int64_t last = config_.discrete_cd_n - (config_.include_endpoint ? 1 : 2);
    if (index_B.lt(0).any().item<bool>() || index_B.gt(last).any().item<bool>()) {
      fail_user("tensor 'index' leaves the grid: it must lie in 0..{}{}",
                last,
                config_.include_endpoint ? "" : " without include_endpoint");
    }
    return table.index_select(0, places).unsqueeze(1).expand({-1, frames}).contiguous();
  }

  /// The teacher's flow for the noisy clips x_t behind the clean ones, guided.
  at::Tensor teacher_flow(const RoleNetwork& teacher,
                          const at::Tensor& clean,
                          const at::Tensor& x_t,
                          const at::Tensor& t,
                          const model::TensorMap& inputs,
                          const model::PreparedPlan& plan) const {
    const model::Guidance guidance(config_.guidance_scale,
                                   guided() ? input_tensor(inputs, "negative_text") : at::Tensor(),
                                   teacher.network.config.text_len);
    return guidance.combine(model::teacher_forcing_forward(
        teacher.network,
        guidance.repeat(clean),
        {guidance.repeat(x_t), guidance.repeat(t), guidance.text(input_tensor(inputs, "text"))},
        plan,
        {}));
  }

  ConsistencyConfig config_;
  model::ModelConfig model_;
  Noising noising_;
  std::vector<double> grid_;   // timesteps, descending, discrete_cd_n of them and the endpoint 0
  model::PlanCache plans_{1};  // all clips of a stage have one shape
};

}  // namespace

std::unique_ptr<Objective> make_objective(const ConsistencyConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<ConsistencyDistillation>(config, model);
}

}  // namespace vmla::trainer
