#include "model/io/error.h"
#include "trainer/objectives/dmd_objective.h"

#include <ATen/ATen.h>

namespace vmla::trainer {

at::Tensor of_window(const at::Tensor& draws, size_t window, size_t windows) {
  if (windows == 1) return draws;
  if (draws.size(0) != static_cast<int64_t>(windows)) {
    fail_user(
        "tensors 'tau' and 'noise' are {}, but this rollout is scored in {} windows: their first "
        "dimension must be that number",
        draws.sizes(),
        windows);
  }
  return draws.select(0, static_cast<int64_t>(window));
}

void Dmd::evaluate(const std::string& player,
                   const model::TensorMap& inputs,
                   const NetworkTable& networks,
                   model::GradMode grad,
                   const EmitLoss& emit) {
  // Both players roll out; the critic learns what the generator makes now, without moving it.
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

RolloutGradient Dmd::score_rollout(const at::Tensor& rollout,
                                   const std::vector<ScoredWindow>& scored,
                                   const model::TensorMap& inputs,
                                   const NetworkTable& networks) {
  const at::Tensor &tau = input_tensor(inputs, "tau"), &noise = input_tensor(inputs, "noise");
  RolloutGradient result{.gradient = at::zeros_like(rollout),
                         .frame_loss = at::zeros({rollout.size(1)}, rollout.options()),
                         .mean_size = at::zeros({}, rollout.options().dtype(at::kDouble)),
                         .details = {{"rollout", rollout}}};
  for (size_t w = 0; w < scored.size(); ++w) {
    const ScoredWindow& window = scored[w];
    const DmdGradient scores = dmd_gradient(window_latents(window, rollout, codec_.get()),
                                            of_window(noise, w, scored.size()),
                                            of_window(tau, w, scored.size()),
                                            inputs,
                                            networks);
    result.details["d_fake"] = scores.d_fake;
    result.details["d_real"] = scores.d_real;
    result.details["dmd_gradient"] = scores.gradient;
    // The trained frames are the window's last ones. A mean over their elements and over the
    // windows: each element weighs `share`.
    const int64_t trained = window.end - window.gradient_begin;
    const at::Tensor part = scores.gradient.narrow(1, scores.gradient.size(1) - trained, trained);
    const double share =
        1.0 / (static_cast<double>(part.numel()) * static_cast<double>(scored.size()));
    result.gradient.narrow(1, window.gradient_begin, trained).copy_(part * share);
    result.frame_loss.narrow(0, window.gradient_begin, trained)
        .copy_(part.square().sum({0, 2, 3, 4}) * (0.5 * share));
    result.mean_size += part.abs().mean().to(at::kDouble) / static_cast<double>(scored.size());
  }
  result.details["grad.rollout"] = result.gradient;
  return result;
}

// Three parts: the rollout x; its derivative dL/dx from the scores, window by window; and the
// backward through the student, chunk by chunk or through one graph (docs/algorithms.md 10.3
// and 10.4).
void Dmd::evaluate_generator(const RoleNetwork& generator,
                             const model::SelfRolloutRequest& request,
                             const model::TensorMap& inputs,
                             const NetworkTable& networks,
                             model::GradMode grad,
                             const EmitLoss& emit) {
  const at::Tensor& noise = input_tensor(inputs, "noise");
  // The noise is as long as a clip, with or without a dimension for the windows in front.
  const auto scored = windows(request.noise_BFCHW.size(1), noise.size(noise.dim() - 4));
  const model::ForwardOptions options{.grad = grad, .recompute = generator.recompute};
  const bool one_graph = config_.kv_grad == "straight_through" && grad != model::GradMode::kNone;
  // The graph begins with the window that is scored first; where that has a front frame, one frame
  // earlier. Its first chunk is not trained, but later chunks reach it through its keys
  // (docs/algorithms.md 10.4).
  const int64_t graph_begin = scored.front().has_front ? scored.front().begin - 1 : 0;

  model::SelfRollout rollout;
  at::Tensor x = one_graph ? model::self_rollout_straight_through(
                                 generator.network, request, rollout_plans_, graph_begin, options)
                           : at::Tensor();
  if (!one_graph) {
    rollout = model::self_rollout(generator.network, request, rollout_plans_);
    x = rollout.latents_BFCHW;
  }
  const RolloutGradient scores = score_rollout(x.detach(), scored, inputs, networks);
  const std::map<std::string, at::Tensor> metrics = {{"dmd_gradient_norm", scores.mean_size}};

  // A loss of frames [first, first + count) whose value is their share of 0.5 mean(G²) and whose
  // derivative with respect to `output` is exactly `gradient`: pull - pull.detach() is 0 and has
  // the derivative of pull = <output, gradient>.
  const auto surrogate = [&](const at::Tensor& output, int64_t first, int64_t count) {
    const at::Tensor pull = (output * scores.gradient.narrow(1, first, count)).sum();
    return scores.frame_loss.narrow(0, first, count).sum() + (pull - pull.detach());
  };
  if (one_graph || grad == model::GradMode::kNone) {
    emit({.total = surrogate(x, 0, x.size(1)), .metrics = metrics, .details = scores.details},
         true);
    return;
  }
  // Chunks that end before the first trained frame have no gradient and are not replayed.
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
    // What describes the whole update goes with one of its losses, or it would be summed.
    if (last) {
      terms.metrics = metrics;
      terms.details = scores.details;
    }
    emit(terms, last);
  }
}

std::unique_ptr<Objective> make_objective(const DmdConfig& config,
                                          const model::ModelConfig& model) {
  return std::make_unique<Dmd>(config, model);
}

}  // namespace vmla::trainer
