#include "model/io/error.h"
#include "trainer/objectives/dmd_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace vmla::trainer {

at::Tensor of_window(const at::Tensor& draws, size_t window, size_t windows) {
  if (windows == 1) return draws;
  if (draws.size(0) != static_cast<int64_t>(windows)) {
    fail_user(
        "tensors 'tau' and 'noise' must have {} windows in front, found {}: that many are scored "
        "of this rollout",
        windows,
        draws.sizes());
  }
  return draws.select(0, static_cast<int64_t>(window));
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
  // later chunks reach its keys (docs/algorithms.md 10.4).
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

std::unique_ptr<Objective> make_objective(const DmdConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<Dmd>(config, model);
}

}  // namespace vmla::trainer
