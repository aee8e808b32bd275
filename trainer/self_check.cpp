#include "trainer/self_check.h"

#include "kernels/counter_rng/counter_rng.h"
#include "model/attention_plan.h"
#include "model/io/error.h"
#include "model/kv_cache.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::trainer {

double check_mask_equals_cache(const model::Network& network,
                               const ClipShape& clip,
                               double tolerance) {
  const at::NoGradGuard no_grad;
  const auto& config = network.config;
  const auto draw = [&](uint64_t sample, at::IntArrayRef sizes) {
    return kernels::normal({.seed = 0,
                            .step = 0,
                            .purpose = kernels::Purpose::kValidationNoise,
                            .role = 0,
                            .sample = sample},
                           sizes);
  };
  const at::Tensor clean = draw(0, {1, clip.frames, clip.channels, clip.height, clip.width});
  const at::Tensor noisy = draw(1, clean.sizes());
  const at::Tensor text = draw(2, {1, 1, config.text_dim});
  const at::Tensor t = at::full({1, clip.frames}, 500.0, at::kDouble);
  const auto grid = model::token_grid(config, clip.height, clip.width);
  const auto prepare = [&](model::AttentionPlan plan) {
    return model::prepare_plan(config, std::move(plan), grid.rows, grid.cols, clean.options());
  };
  const at::Tensor masked =
      model::teacher_forcing_forward(network,
                                     clean,
                                     {noisy, t, text},
                                     prepare(model::teacher_forcing_plan(config, clip.frames)),
                                     {});

  model::KvCache cache(config, model::CacheKind::kStreaming, grid.rows * grid.cols, clip.frames);
  std::vector<at::Tensor> flows;
  int64_t first = 0;
  for (int64_t count : model::chunk_sizes(config, clip.frames)) {
    const auto window = cache.window(first, count);
    const auto plan = prepare(model::cached_plan(window.frames, first, count));
    const auto part = [&](const at::Tensor& x) { return x.narrow(1, first, count); };
    flows.push_back(
        model::dit_forward(network, {part(noisy), part(t), text}, plan, window.layers, {})
            .flow_BFCHW);
    const model::ForwardOptions fill{.keep_kv = true, .need_flow = false};
    cache.append(
        model::dit_forward(
            network, {part(clean), at::zeros_like(part(t)), text}, plan, window.layers, fill)
            .kv,
        first,
        count);
    first += count;
  }
  const double rms = masked.square().mean().sqrt().item<double>();
  const double difference = (masked - at::cat(flows, 1)).abs().max().item<double>();
  const double relative = rms > 0 ? difference / rms : difference;
  if (!(relative <= tolerance)) {
    fail_run("self-check: the masked forward and the cached forward differ by ",
             relative,
             " of the rms, more than ",
             tolerance,
             ": training and sampling would not be the same model");
  }
  return relative;
}

}  // namespace vmla::trainer
