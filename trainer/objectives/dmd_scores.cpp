#include "model/network/attention_plan.h"
#include "model/sampling/guidance.h"
#include "trainer/objectives/dmd_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::trainer {

// t = clamp(1000 shifted(tau / 1000), range), the same for all frames of a sample
// (docs/algorithms.md 10.5).
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
  const auto& plan =
      score_plans_[name].get(score.network.config, model::bidirectional_plan(noisy.size(1)), noisy);
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
  // Both scores see x at the same noise level. With quantized_sigma their flows are converted to
  // clean latents by the published scores' own table.
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
    const at::Tensor both = model::with_negative(
        text, input_tensor(inputs, "negative_text"), real.network.config.text_len);
    const auto flows =
        score_flow("real_score", real, at::cat({noisy, noisy}, 0), at::cat({t, t}, 0), both, none)
            .chunk(2, 0);
    const at::Tensor positive = clean_from_flow(noisy, flows[0], sigma);
    const at::Tensor negative = clean_from_flow(noisy, flows[1], sigma);
    // g, which is w - 1 of the guidance in sampling (docs/algorithms.md 10.5).
    result.d_real = positive + config_.guidance_scale * (positive - negative);
  }
  // G = (D_fake - D_real) / mean |x - D_real|, the mean over each sample by itself. Where x equals
  // D_real to the bit there is nowhere to go: 0 instead of 0 / 0.
  const at::Tensor scale = (x - result.d_real).abs().mean({1, 2, 3, 4}, /*keepdim=*/true);
  const at::Tensor difference = result.d_fake - result.d_real;
  result.gradient = at::where(scale == 0, at::zeros_like(difference), difference / scale);
  return result;
}

// The critic: flow matching on the rollout's windows, loss = mean (v_fake(x_t, t) − (eps − x))²
// (docs/algorithms.md 10.6), one loss for each window.
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
    // The published critic turns its flow into clean latents by the score's table and those back
    // into a flow by the training table: together a factor.
    if (config_.quantized_sigma) flow = flow * (score_noising_.sigma(t, x) / noising_.sigma(t, x));
    const at::Tensor loss =
        (flow - noisy.target_BFCHW).square().mean() / static_cast<double>(scored.size());
    emit({.total = loss, .metrics = {}, .details = {{"rollout", rollout}}}, w + 1 == scored.size());
  }
}

}  // namespace vmla::trainer
