#include "trainer/roles/optimizer.h"

#include "model/weights/home_buffers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vmla::trainer {
namespace {

/// A unit's copy in the compute dtype, where it has one; training computes in bf16, or in the
/// masters' dtype without copies.
at::Tensor bf16_copy(model::TrainedWeights& weights, int64_t unit) {
  at::Tensor copy = weights.compute_copy(unit);
  TORCH_CHECK(!copy.defined() || copy.scalar_type() == at::kBFloat16,
              "copies in bf16 expected: ",
              copy.scalar_type());
  return copy;
}

/// The masters of each unit, for the shuttle.
std::vector<HostShuttle::Group> masters(model::TrainedWeights& weights) {
  std::vector<HostShuttle::Group> groups;
  for (const int64_t unit : weights.units()) groups.push_back({weights.master(unit)});
  return groups;
}

}  // namespace

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

const MovingAverage* average_beside(model::TrainedWeights& weights,
                                    const std::vector<MovingAverage>& averages) {
  const at::Device device = weights.master(model::kRootUnit).device();
  const auto found = std::ranges::find_if(averages, [&](const MovingAverage& average) {
    return average.weights.master(model::kRootUnit).device() == device;
  });
  return found == averages.end() ? nullptr : &*found;
}

void update_average(const MovingAverage& average, model::TrainedWeights& weights) {
  // Its copies on the GPU are old, and one that is under way reads what is written now.
  if (average.uploaded != nullptr) average.uploaded->forget();
  // lerp_(w, 1 - decay) is average + (1 - decay) (w - average).
  const double weight = 1.0 - average.decay;
  const std::vector<int64_t>& units = weights.units();
  if (average.shuttle == nullptr) {
    for (const int64_t unit : units)
      average.weights.master(unit).lerp_(weights.master(unit), weight);
  } else {
    average.shuttle->each(masters(average.weights), [&](size_t index, const auto& here) {
      here[0].lerp_(weights.master(units[index]), weight);
    });
  }
  average.weights.drop_copies();
}

int64_t room_to_move(model::TrainedWeights& average) {
  return HostShuttle::room(masters(average));
}

AdamW::AdamW(const OptimizerConfig& config, model::TrainedWeights& weights, bool on_host)
    : config_(config) {
  const bool has_average = config_.betas[0] != 0.0;
  const at::Device device = weights.master(model::kRootUnit).device();
  const model::Home home = on_host ? model::Home::offloaded_from(device) : model::Home(device);
  if (on_host && device.is_cuda()) shuttle_ = std::make_unique<HostShuttle>(device);
  model::HomeBuffers buffers(home, "the optimizer's moments");
  for (int64_t unit : weights.units()) {
    const at::Tensor& master = weights.master(unit);
    const auto zeros = [&] { return buffers.zeros(master.numel(), master.scalar_type()); };
    Moments& moments = moments_[unit];
    moments.exp_avg_sq = zeros();
    if (has_average) moments.exp_avg = zeros();
  }
  if (on_host) room_for_moments_ = HostShuttle::room(groups());
}

void AdamW::step(model::TrainedWeights& weights,
                 double lr,
                 const at::Tensor& grad_scale,
                 const MovingAverage* average) {
  ++updates_;
  const kernels::AdamwSettings settings{.lr = lr,
                                        .beta1 = config_.betas[0],
                                        .beta2 = config_.betas[1],
                                        .eps = config_.eps,
                                        .weight_decay = config_.weight_decay,
                                        .step = updates_};
  const UpdateUnit update = [&](int64_t unit, Moments& moments) {
    kernels::AdamwFollowers followers{.rounded = bf16_copy(weights, unit)};
    if (average != nullptr) {
      followers.average = average->weights.master(unit);
      followers.average_decay = average->decay;
      followers.rounded_average = bf16_copy(average->weights, unit);
    }
    kernels::adamw_step_(weights.master(unit),
                         weights.gradient(unit),
                         moments.exp_avg,
                         moments.exp_avg_sq,
                         grad_scale,
                         settings,
                         followers);
  };
  if (shuttle_) {
    with_moments_from_host(update);
  } else {
    for (auto& [unit, moments] : moments_) update(unit, moments);
  }
  weights.masters_and_copies_changed();
  if (average != nullptr) average->weights.masters_and_copies_changed();
}

/// The moments of each unit, for the shuttle.
std::vector<HostShuttle::Group> AdamW::groups() const {
  std::vector<HostShuttle::Group> groups;
  for (const auto& [unit, moments] : moments_) {
    groups.push_back({moments.exp_avg_sq});
    if (moments.exp_avg.defined()) groups.back().push_back(moments.exp_avg);
  }
  return groups;
}

void AdamW::with_moments_from_host(const UpdateUnit& update) {
  std::vector<int64_t> units;
  for (const auto& [unit, moments] : moments_) units.push_back(unit);
  shuttle_->each(groups(), [&](size_t index, const HostShuttle::Group& here) {
    Moments moments{.exp_avg = here.size() > 1 ? here[1] : at::Tensor(), .exp_avg_sq = here[0]};
    update(units[index], moments);
  });
}

PieceMap AdamW::state(const model::TrainedWeights& weights) const {
  if (shuttle_) shuttle_->wait();
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

}  // namespace vmla::trainer
