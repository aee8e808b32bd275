#include "trainer/roles/optimizer.h"

#include "kernels/adamw/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vmla::trainer {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps) {
  // The first step of a warm-up of n has lr / n, not 0: it would change nothing.
  if (step < config.warmup_steps) {
    return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  const int64_t end = config.schedule_steps > 0 ? config.schedule_steps : total_steps;
  if (config.lr_schedule == "constant" || end <= config.warmup_steps) return config.lr;
  const double progress = static_cast<double>(std::min(step, end) - config.warmup_steps) /
                          static_cast<double>(end - config.warmup_steps);
  const double left = config.lr_schedule == "linear"
                          ? 1.0 - progress
                          : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * left);
}

at::Tensor squared_gradient_norm(model::TrainedWeights& weights) {
  // norm() in the gradients' dtype avoids an fp64 copy of a unit; units have very different sizes,
  // so their squares are added in fp64.
  at::Tensor sum;
  for (int64_t unit : weights.units()) {
    const at::Tensor square = weights.gradient(unit).norm().to(at::kDouble).square();
    sum = sum.defined() ? sum + square : square;
  }
  return sum;
}

at::Tensor clip_factor(const at::Tensor& norm, const at::Tensor& loss, double max_norm) {
  // 1, or NaN where norm or loss is infinite or NaN: 0 * inf is NaN. All on the device, so that the
  // host need not wait. A norm of 0 gives max / 0 = inf, which clamp_max makes 1.
  const at::Tensor finite = 1.0 + 0.0 * (norm + loss);
  const at::Tensor factor = max_norm > 0.0 ? (max_norm / norm).clamp_max(1.0) : finite;
  return (factor * finite).to(at::kFloat);
}

AdamW::AdamW(const OptimizerConfig& config, model::TrainedWeights& weights, bool on_host)
    : config_(config) {
  for (int64_t unit : weights.units()) {
    Moments& moments = moments_[unit];
    const at::Tensor& master = weights.master(unit);
    // A plan's masters are on the meta device, and so are its moments.
    const auto options =
        on_host && !master.is_meta() ? master.options().device(at::kCPU) : master.options();
    moments.exp_avg_sq = at::zeros(master.sizes(), options);
    if (config.betas[0] != 0.0) moments.exp_avg = at::zeros(master.sizes(), options);
  }
}

void AdamW::step(model::TrainedWeights& weights, double lr, const at::Tensor& grad_scale) {
  ++updates_;
  const kernels::AdamwSettings params{.lr = lr,
                                      .beta1 = config_.betas[0],
                                      .beta2 = config_.betas[1],
                                      .eps = config_.eps,
                                      .weight_decay = config_.weight_decay,
                                      .step = updates_};
  for (auto& [unit, moments] : moments_) {
    at::Tensor& master = weights.master(unit);
    if (moments.exp_avg_sq.device() == master.device()) {
      kernels::adamw_step_(
          master, weights.gradient(unit), moments.exp_avg, moments.exp_avg_sq, grad_scale, params);
      continue;
    }
    // The moments are elsewhere: bring one unit's over, update, put them back.
    Moments here{.exp_avg = {}, .exp_avg_sq = moments.exp_avg_sq.to(master.device())};
    if (moments.exp_avg.defined()) here.exp_avg = moments.exp_avg.to(master.device());
    kernels::adamw_step_(
        master, weights.gradient(unit), here.exp_avg, here.exp_avg_sq, grad_scale, params);
    moments.exp_avg_sq.copy_(here.exp_avg_sq);
    if (moments.exp_avg.defined()) moments.exp_avg.copy_(here.exp_avg);
  }
  weights.masters_changed();
}

PieceMap AdamW::state(const model::TrainedWeights& weights) const {
  PieceMap pieces;
  for (const auto& [unit, moments] : moments_) {
    const auto add = [&](const at::Tensor& flat, const char* prefix) {
      if (flat.defined())
        pieces.merge(unit_pieces(weights.layout(unit), weights.part(unit), flat, prefix));
    };
    add(moments.exp_avg, "exp_avg/");
    add(moments.exp_avg_sq, "exp_avg_sq/");
  }
  return pieces;
}

void update_ema(model::TrainedWeights& average, model::TrainedWeights& weights, double decay) {
  // lerp_(w, 1 - decay) is average + (1 - decay) (w - average).
  for (int64_t unit : weights.units())
    average.master(unit).lerp_(weights.master(unit).to(average.master(unit).device()), 1.0 - decay);
  average.masters_changed();
}

}  // namespace vmla::trainer
