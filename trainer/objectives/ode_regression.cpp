#include "kernels/host_transfer.h"
#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/plan_cache.h"
#include "trainer/objectives/noising.h"
#include "trainer/objectives/phase_flops.h"

#include <ATen/ATen.h>

namespace vmla::trainer {
namespace {

/// What the student sees, at which timesteps, and the clean latents that it shall predict.
struct OdePair {
  at::Tensor state_BFCHW, target_BFCHW, timesteps_BF;
};

/// Causal ODE regression (docs/algorithms.md 9.4): from a state x_k of the teacher's ODE path at
/// one of the student's steps, predict the end of the path: loss = mean (x_k − sigma_k v_θ(x_k,
/// t_k) − x_end)². Inputs of evaluate(): clean_latents (the context), text, and either state,
/// ode_target [B, F, C, H, W] and timesteps ([B] or [B, F]), as `vmla step` is given them, or what
/// a dataset of ODE pairs and draws() give: ode_states [B, steps + 1, F, C, H, W] (the last one is
/// the endpoint) and ode_index [B, F].
class OdeRegression : public Objective {
 public:
  OdeRegression(const OdeRegressionConfig& config, const model::ModelConfig& model)
      : config_(config),
        model_(model),
        noising_(config.timestep_shift, false),
        timesteps_(model::warped_step_list(config.denoising_step_list, config.timestep_shift)) {}

  std::string reported_input() const override { return "state"; }
  std::vector<PhaseFlops> training_flops(const ClipShape& clip,
                                         const RoleModels& models) const override {
    const model::ModelConfig& m = models.at("generator");
    return generator_flops(plan_flops(m, make_plan(m, clip.frames), clip));
  }

  std::vector<DrawSpec> draw_specs(const std::string&, const ClipShape& clip) const override {
    return {{"ode_index", {DrawSpec::kBatch, clip.frames}, at::kLong}};
  }

  model::TensorMap draws(const std::string& player,
                         const ClipShape& clip,
                         const DrawContext& context) const override {
    auto key = draw_key(
        player, context, kernels::Purpose::kOdeIndex, kernels::Purpose::kValidationTimestep);
    // With a clean context the whole video draws one step; with a noisy one each chunk draws its
    // own.
    const std::vector<int64_t> groups = chunk_causal() ? model::chunk_sizes(model_, clip.frames)
                                                       : std::vector<int64_t>{clip.frames};
    std::vector<int64_t> indices;
    for (int64_t b = 0; b < context.batch; ++b, ++key.sample) {
      for (size_t group = 0; group < groups.size(); ++group) {
        const int64_t index =
            kernels::uniform_index(key, static_cast<int64_t>(timesteps_.size()), group);
        indices.insert(indices.end(), static_cast<size_t>(groups[group]), index);
      }
    }
    return {{"ode_index", at::tensor(indices, at::kLong).view({context.batch, clip.frames})}};
  }

  void evaluate(const std::string& player,
                const model::TensorMap& inputs,
                const NetworkTable& networks,
                model::GradMode grad,
                const EmitLoss& emit) override {
    const RoleNetwork& role = networks.at(player);
    const OdePair pair = inputs.contains("state") ? given_pair(inputs) : stored_pair(inputs);
    const auto& plan = plans_.get(role.network.config,
                                  make_plan(role.network.config, pair.state_BFCHW.size(1)),
                                  pair.state_BFCHW);
    const model::DitInputs noisy{pair.state_BFCHW, pair.timesteps_BF, input_tensor(inputs, "text")};
    const model::ForwardOptions options{.grad = grad, .recompute = role.recompute};
    const at::Tensor flow =
        chunk_causal()
            ? model::dit_forward(role.network, noisy, plan, {}, options).flow_BFCHW
            : model::teacher_forcing_forward(
                  role.network, input_tensor(inputs, "clean_latents"), noisy, plan, options);
    const at::Tensor x0 = clean_from_flow(
        pair.state_BFCHW, flow, noising_.sigma(pair.timesteps_BF, pair.state_BFCHW));
    const at::Tensor frame_loss = (x0 - pair.target_BFCHW).square().mean({2, 3, 4});
    emit({.total = frame_loss.mean(),
          .metrics = {},
          .details = {{"frame_loss", frame_loss.detach()}, {"timesteps", pair.timesteps_BF}}},
         true);
  }

 private:
  /// Whether a chunk sees the noisy earlier chunks (Self-Forcing's variant) instead of clean ones.
  bool chunk_causal() const { return config_.context == "chunk_causal"; }

  model::AttentionPlan make_plan(const model::ModelConfig& model, int64_t frames) const {
    return chunk_causal() ? model::chunk_causal_plan(model, frames)
                          : model::teacher_forcing_plan(model, frames);
  }

  /// The pair that the inputs hold outright.
  static OdePair given_pair(const model::TensorMap& inputs) {
    const at::Tensor& state = input_tensor(inputs, "state");
    at::Tensor timesteps = input_tensor(inputs, "timesteps");
    if (timesteps.dim() == 1) timesteps = timesteps.unsqueeze(1).expand({-1, state.size(1)});
    return {state, input_tensor(inputs, "ode_target"), timesteps};
  }

  /// Picks each frame's state out of the stored ones by ode_index [B, F].
  OdePair stored_pair(const model::TensorMap& inputs) const {
    const at::Tensor& states = input_tensor(inputs, "ode_states");
    const at::Tensor& index_BF = input_tensor(inputs, "ode_index");
    const auto steps = static_cast<int64_t>(timesteps_.size());
    if (states.size(1) != steps + 1) {
      fail_user(
          "the dataset holds {} states before each ODE endpoint, "
          "objective.ode_regression.denoising_step_list has {} steps; make them with the same list",
          states.size(1) - 1,
          steps);
    }
    // gather() along the states' dimension wants an index of the output's shape [B, 1, F, C, H, W].
    const at::Tensor index =
        kernels::upload(index_BF, states.device()).view({states.size(0), 1, -1, 1, 1, 1});
    const at::Tensor state =
        states.gather(1, index.expand({-1, 1, -1, states.size(3), states.size(4), states.size(5)}))
            .squeeze(1);
    const at::Tensor table = at::tensor(timesteps_, at::kDouble);
    return {state,
            states.select(1, steps),
            table.index_select(0, index_BF.flatten()).view_as(index_BF)};
  }

  OdeRegressionConfig config_;
  model::ModelConfig model_;
  Noising noising_;
  std::vector<double> timesteps_;  // of the stored states, as the network sees them
  model::PlanCache plans_{1};      // all clips of a stage have one shape
};

}  // namespace

std::unique_ptr<Objective> make_objective(const OdeRegressionConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<OdeRegression>(config, model);
}

}  // namespace vmla::trainer
