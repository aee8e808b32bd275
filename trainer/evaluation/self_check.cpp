#include "trainer/evaluation/self_check.h"

#include "kernels/counter_rng/counter_rng.h"
#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/cached_forward.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::trainer {

double check_mask_equals_cache(const model::Network& network,
                               const ClipShape& clip,
                               at::Device device,
                               double tolerance) {
  const at::NoGradGuard no_grad;
  const auto& config = network.config;
  // The same numbers on every rank and in every run.
  const auto draw = [&](uint64_t sample, at::IntArrayRef sizes) {
    return kernels::normal({.seed = 0,
                            .step = 0,
                            .purpose = kernels::Purpose::kValidationNoise,
                            .role = 0,
                            .sample = sample},
                           sizes)
        .to(device);
  };
  const at::Tensor clean = draw(0, {1, clip.frames, clip.channels, clip.height, clip.width});
  const at::Tensor noisy = draw(1, clean.sizes());
  const at::Tensor text = draw(2, {1, 1, config.text_dim});
  const at::Tensor t = at::full({1, clip.frames}, 500.0, clean.options().dtype(at::kDouble));
  const auto grid = model::token_grid(config, clip.height, clip.width);
  const auto plan = model::prepare_plan(
      config, model::teacher_forcing_plan(config, clip.frames), grid, clean.options());
  const at::Tensor masked =
      model::teacher_forcing_forward(network, clean, {noisy, t, text}, plan, {});
  const at::Tensor cached = model::cached_forward(network, clean, {noisy, t, text});
  const double rms = masked.square().mean().sqrt().item<double>();
  const double difference = (masked - cached).abs().max().item<double>();
  // A fresh network has a head of zeros, and its flow is zero.
  const double relative = rms > 0 ? difference / rms : difference;
  // Written so that NaN fails too.
  if (!(relative <= tolerance)) {
    fail_run(
        "self-check: the masked forward and the cached forward differ by {:g} of the rms, and {:g} "
        "is "
        "allowed: training and sampling would not be the same model",
        relative,
        tolerance);
  }
  return relative;
}

}  // namespace vmla::trainer
