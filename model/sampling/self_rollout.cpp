#include "model/sampling/self_rollout.h"

#include "model/network/attention_plan.h"
#include "model/network/context_pass.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/noise_and_flow.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::model {
namespace {

/// One rollout in progress: its cache, and what its passes share.
class Rollout {
 public:
  Rollout(const Network& network, const SelfRolloutRequest& request, PlanCache& plans)
      : network_(network),
        request_(request),
        plans_(plans),
        grid_(token_grid(network.config, request.noise_BFCHW.size(3), request.noise_BFCHW.size(4))),
        frames_(request.noise_BFCHW.size(1)),
        cache_(network.config, CacheKind::kAppendOnly, grid_.tokens(), frames_) {}

  std::vector<int64_t> chunks() const { return chunk_sizes(network_.config, frames_); }

  /// Runs the passes before the exit pass and returns that pass's inputs.
  ExitPass reach_exit(int64_t first, int64_t count) {
    const at::NoGradGuard no_grad;
    const ExitSchedule& schedule = first == 0 ? request_.first_schedule : request_.schedule;
    ExitPass pass{.first_frame = first,
                  .noisy_BFCHW = request_.noise_BFCHW.narrow(1, first, count),
                  .window = cache_.window(first, count)};
    pass.plan = &plans_.get(network_.config,
                            cached_plan(network_.config, pass.window.frames, first, count),
                            request_.noise_BFCHW);
    for (int64_t k = 0;; ++k) {
      pass.timestep = schedule.timesteps.at(static_cast<size_t>(k));
      pass.sigma = request_.sigma(pass.timestep);
      if (k == schedule.exit_index) return pass;
      const at::Tensor x0 = predict(pass);
      const double next = request_.sigma(schedule.timesteps.at(static_cast<size_t>(k + 1)));
      const at::Tensor fresh = request_.renoise_KBFCHW.select(0, k).narrow(1, first, count);
      pass.noisy_BFCHW = add_noise(x0, fresh, next);
    }
  }

  /// x0 of the exit pass, without gradients; the prompt's keys and values are kept over passes.
  at::Tensor predict(const ExitPass& pass) {
    const at::NoGradGuard no_grad;
    return replay_exit_pass(network_, pass, request_.text_BTE, {.pass_cache = &kept_});
  }

  /// The context pass (docs/algorithms.md 6.3): keys and values of the finished chunk.
  std::vector<LayerKv> fill(const ExitPass& pass, const at::Tensor& x0_BFCHW) {
    const at::NoGradGuard no_grad;
    at::Tensor x = x0_BFCHW.detach();
    if (request_.context_sigma > 0) {
      const at::Tensor noise = request_.context_noise_BFCHW.narrow(1, pass.first_frame, x.size(1));
      x = add_noise(x, noise, request_.context_sigma);
    }
    std::vector<LayerKv> kv = context_kv(network_,
                                         {.latents_BFCHW = x,
                                          .timestep = request_.context_timestep,
                                          .text_BTE = request_.text_BTE,
                                          .plan = *pass.plan,
                                          .window = pass.window.layers,
                                          .pass_cache = &kept_});
    cache_.append(kv, pass.first_frame, x.size(1));
    return kv;
  }

  bool is_last(int64_t first, int64_t count) const { return first + count == frames_; }

 private:
  const Network& network_;
  const SelfRolloutRequest& request_;
  PlanCache& plans_;
  TokenGrid grid_;
  int64_t frames_;
  KvCache cache_;
  PassCache kept_{.exact = true};
};

/// `values` with the gradient of `carrier`, which has the same shape.
LayerKv straight_through(const LayerKv& values, const LayerKv& carrier) {
  const auto join = [](const at::Tensor& value, const at::Tensor& from) {
    return value + (from - from.detach());
  };
  return {join(values.content, carrier.content), join(values.key, carrier.key)};
}

/// Keys and values of a window's frames, from the chunks that hold them; differentiable, unlike the
/// cache's own window.
std::vector<LayerKv> gather_window(const std::vector<int64_t>& frames,
                                   const std::vector<std::vector<LayerKv>>& kv_of_chunk,
                                   const std::vector<int64_t>& first_of_chunk,
                                   int64_t tokens,
                                   int64_t layers) {
  std::vector<LayerKv> window;
  if (frames.empty()) return window;
  for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer) {
    std::vector<at::Tensor> content, key;
    for (const int64_t frame : frames) {
      size_t chunk = first_of_chunk.size() - 1;
      while (first_of_chunk[chunk] > frame) --chunk;
      const int64_t row = (frame - first_of_chunk[chunk]) * tokens;
      content.push_back(kv_of_chunk[chunk][layer].content.narrow(1, row, tokens));
      key.push_back(kv_of_chunk[chunk][layer].key.narrow(1, row, tokens));
    }
    window.push_back({at::cat(content, 1), at::cat(key, 1)});
  }
  return window;
}

}  // namespace

double SelfRolloutRequest::sigma(double timestep) const {
  return quantized_sigmas.empty() ? timestep / kTrainTimesteps
                                  : quantized_sigma(timestep, quantized_sigmas);
}

SelfRollout self_rollout(const Network& network,
                         const SelfRolloutRequest& request,
                         PlanCache& plans) {
  const at::NoGradGuard no_grad;
  Rollout rollout(network, request, plans);
  SelfRollout result;
  std::vector<at::Tensor> outputs;
  int64_t first = 0;
  for (const int64_t count : rollout.chunks()) {
    result.passes.push_back(rollout.reach_exit(first, count));
    outputs.push_back(rollout.predict(result.passes.back()));
    // Nothing reads the last chunk's keys and values.
    if (!rollout.is_last(first, count)) rollout.fill(result.passes.back(), outputs.back());
    first += count;
  }
  result.latents_BFCHW = at::cat(outputs, 1);
  return result;
}

at::Tensor replay_exit_pass(const Network& network,
                            const ExitPass& pass,
                            const at::Tensor& text_BTE,
                            const ForwardOptions& options) {
  const DitInputs inputs{pass.noisy_BFCHW, same_time(pass.noisy_BFCHW, pass.timestep), text_BTE};
  const at::Tensor flow =
      dit_forward(network, inputs, *pass.plan, pass.window.layers, options).flow_BFCHW;
  return clean_from_flow(pass.noisy_BFCHW, flow, pass.sigma);
}

at::Tensor self_rollout_straight_through(const Network& network,
                                         const SelfRolloutRequest& request,
                                         PlanCache& plans,
                                         int64_t first_gradient_frame,
                                         const ForwardOptions& options) {
  Rollout rollout(network, request, plans);
  std::vector<std::vector<LayerKv>> kv_of_chunk;
  std::vector<int64_t> first_of_chunk;
  std::vector<at::Tensor> outputs;
  int64_t first = 0;
  for (const int64_t count : rollout.chunks()) {
    ExitPass pass = rollout.reach_exit(first, count);
    std::vector<LayerKv> exit_kv;  // differentiable; empty for a chunk without gradient
    if (first >= first_gradient_frame) {
      const DitInputs inputs{
          pass.noisy_BFCHW, same_time(pass.noisy_BFCHW, pass.timestep), request.text_BTE};
      ForwardOptions with_kv = options;
      with_kv.keep_kv = true;
      const DitOutputs out = dit_forward(network,
                                         inputs,
                                         *pass.plan,
                                         gather_window(pass.window.frames,
                                                       kv_of_chunk,
                                                       first_of_chunk,
                                                       pass.plan->tokens_per_frame,
                                                       network.config.num_layers),
                                         with_kv);
      outputs.push_back(clean_from_flow(pass.noisy_BFCHW, out.flow_BFCHW, pass.sigma));
      exit_kv = out.kv;
    } else {
      outputs.push_back(rollout.predict(pass));
    }
    if (!rollout.is_last(first, count)) {
      std::vector<LayerKv> kv = rollout.fill(pass, outputs.back());
      // What later chunks read: values of the context pass, gradient of the exit pass.
      for (size_t layer = 0; layer < exit_kv.size(); ++layer)
        kv[layer] = straight_through(kv[layer], exit_kv[layer]);
      kv_of_chunk.push_back(std::move(kv));
      first_of_chunk.push_back(first);
    }
    first += count;
  }
  return at::cat(outputs, 1);
}

}  // namespace vmla::model
