#include "model/conversion/calibration.h"

#include "kernels/counter_rng/counter_rng.h"
#include "model/network/attention_tap.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/noise_and_flow.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::model {
namespace {

kernels::DrawKey draw_key(const CalibrationSettings& settings,
                          kernels::Purpose purpose,
                          int64_t index) {
  return {.seed = settings.seed,
          .step = 0,
          .purpose = purpose,
          .role = kernels::hash_role("calibration"),
          .sample = static_cast<uint64_t>(index)};
}

/// sigma of each frame [1, F]: one time a chunk.
at::Tensor chunk_sigmas(const ModelConfig& config,
                        const CalibrationSettings& settings,
                        int64_t index,
                        int64_t num_frames) {
  const kernels::DrawKey key = draw_key(settings, kernels::Purpose::kTimestep, index);
  std::vector<double> sigmas;
  uint64_t chunk = 0;
  for (const int64_t frames : chunk_sizes(config, num_frames)) {
    // 1 − u lies in (0, 1].
    const double u = 1.0 - kernels::uniform_at(key, chunk++);
    sigmas.insert(
        sigmas.end(), static_cast<size_t>(frames), shifted_sigma(u, settings.timestep_shift));
  }
  return at::tensor(sigmas, at::kDouble).unsqueeze(0);
}

/// How many query frames attend to each frame of the sequence, its own queries included.
std::vector<double> key_weights(const AttentionPlan& plan) {
  std::vector<double> weights(static_cast<size_t>(plan.sequence_frames()), 0.0);
  for (const PlanRect& rect : plan.rects) {
    for (int64_t key = rect.key_begin; key < rect.key_begin + rect.key_count; ++key)
      weights[static_cast<size_t>(key)] += static_cast<double>(rect.query_count);
  }
  return weights;
}

std::vector<double> query_weights(const AttentionPlan& plan) {
  std::vector<double> weights(static_cast<size_t>(plan.sequence_frames()), 1.0);
  std::fill_n(weights.begin(), plan.output_begin, 0.0);
  return weights;
}

/// Adds Σ w x̃ x̃ᵀ over tokens [F, S, D], w one weight a frame.
void add_moments(at::Tensor& sum, const at::Tensor& x_FSD, const std::vector<double>& weights) {
  for (size_t frame = 0; frame < weights.size(); ++frame) {
    if (weights[frame] == 0) continue;
    const at::Tensor x_SD = x_FSD.select(0, static_cast<int64_t>(frame)).to(at::kDouble);
    const at::Tensor with_one = at::constant_pad_nd(x_SD, {0, 1}, 1.0);
    const at::Tensor part = with_one.t().matmul(with_one).to(at::kCPU);
    if (!sum.defined()) sum = at::zeros_like(part);
    sum.add_(part, weights[frame]);
  }
}

}  // namespace

ModelConfig causal_dense(const ModelConfig& dense, const ModelConfig& mla) {
  ModelConfig config = dense;
  config.num_frame_per_block = mla.num_frame_per_block;
  config.local_attn_size = mla.local_attn_size;
  config.sink_size = mla.sink_size;
  config.independent_first_frame = mla.independent_first_frame;
  return config;
}

CalibrationInputs calibration_inputs(const ModelConfig& config,
                                     const CalibrationSettings& settings,
                                     int64_t index) {
  const CalibrationClip clip = settings.clip(index);
  CalibrationInputs in;
  in.clean_BFCHW = clip.latents_FCHW.unsqueeze(0);
  in.noise_BFCHW = kernels::normal(draw_key(settings, kernels::Purpose::kNoise, index),
                                   clip.latents_FCHW.sizes())
                       .to(clip.latents_FCHW.device())
                       .unsqueeze(0);
  const int64_t frames = clip.latents_FCHW.size(0);
  in.sigma_BF = chunk_sigmas(config, settings, index, frames).to(clip.latents_FCHW.device());
  const at::Tensor sigma = in.sigma_BF.view({1, frames, 1, 1, 1}).to(at::kFloat);
  in.noisy = {.latents_BFCHW = add_noise(in.clean_BFCHW, in.noise_BFCHW, sigma),
              .timesteps_BF = in.sigma_BF * kTrainTimesteps,
              .text_BTE = clip.text_TE.unsqueeze(0)};
  in.plan = prepare_plan(config,
                         teacher_forcing_plan(config, frames),
                         token_grid(config, clip.latents_FCHW.size(2), clip.latents_FCHW.size(3)),
                         in.clean_BFCHW.options());
  return in;
}

std::vector<LayerMoments> moment_sums(const Network& dense, const CalibrationSettings& settings) {
  const at::NoGradGuard no_grad;
  std::vector<LayerMoments> sums(static_cast<size_t>(dense.config.num_layers));
  for (int64_t index = settings.first; index < settings.clips; index += settings.step) {
    const CalibrationInputs in = calibration_inputs(dense.config, settings, index);
    const AttentionPlan& plan = in.plan.plan;
    const std::vector<double> as_keys = key_weights(plan), as_queries = query_weights(plan);
    const AttentionTap tap([&](int64_t layer, const at::Tensor& x_BLD) {
      const at::Tensor x_FSD = x_BLD[0].unflatten(0, {plan.sequence_frames(), -1});
      LayerMoments& sum = sums[static_cast<size_t>(layer)];
      add_moments(sum.keys, x_FSD, as_keys);
      add_moments(sum.queries, x_FSD, as_queries);
    });
    teacher_forcing_forward(dense, in.clean_BFCHW, in.noisy, in.plan, {});
  }
  // A rank without a clip adds nothing.
  const int64_t width = dense.config.dim + 1;
  for (LayerMoments& sum : sums) {
    for (at::Tensor* tensor : {&sum.keys, &sum.queries}) {
      if (!tensor->defined()) *tensor = at::zeros({width, width}, at::kDouble);
    }
  }
  return sums;
}

void normalise(std::vector<LayerMoments>& sums) {
  for (LayerMoments& sum : sums) {
    for (at::Tensor* tensor : {&sum.keys, &sum.queries}) {
      const int64_t last = tensor->size(0) - 1;
      const double weight = (*tensor)[last][last].item<double>();
      TORCH_CHECK(weight > 0, "no tokens were measured");
      tensor->div_(weight);
    }
  }
}

}  // namespace vmla::model
