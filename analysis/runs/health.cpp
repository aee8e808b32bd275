#include "analysis/runs/health.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

const char kGeneratorLoss[] = "loss";
const char kCriticLoss[] = "loss_fake_score";
const char kDmdGradient[] = "dmd_gradient_norm";
// The mean critic loss between two updates of the generator. Not a logged figure: a window of it
// covers the same steps as a window of generator losses.
const char kCriticBesideGenerator[] = "critic beside generator";

// "loss" or "loss_PLAYER", for the prefix "loss".
bool is_of_a_player(const std::string& name, const std::string& prefix) {
  return name == prefix || name.starts_with(prefix + "_");
}

}  // namespace

const FigureTrack* HealthMonitor::find(const std::string& name) const {
  const auto found = tracks_.find(name);
  return found == tracks_.end() ? nullptr : &found->second;
}

// The track if it is past its warm-up.
const FigureTrack* HealthMonitor::judged(const std::string& name) const {
  const FigureTrack* track = find(name);
  return track != nullptr && track->judged() ? track : nullptr;
}

void HealthMonitor::add(const std::string& name, double value) {
  tracks_.try_emplace(name, limits_.window, limits_.warmup).first->second.add(value);
}

void HealthMonitor::raise(const std::string& condition,
                          const std::string& figure,
                          const std::string& message) {
  if (raised_.insert(condition + " " + figure).second) alarms_.push_back({condition, message});
}

// Compares with the values before this one: a spike must not raise its own median.
void HealthMonitor::check_gradient(int64_t step, const std::string& name, double value) {
  const FigureTrack* before = judged(name);
  if (before == nullptr) return;
  const double median = before->median();
  if (value <= limits_.spike_factor * median) return;
  raise("gradient_spike",
        name,
        formatted("health: {} jumped to {:.3g} at step {}, {:.3g} times its running median of "
                  "{:.3g}; if it comes back, lower optimizer.lr or optimizer.max_grad_norm",
                  name,
                  value,
                  step,
                  value / median,
                  median));
}

void HealthMonitor::check_dmd_explosion(int64_t step, double value) {
  const FigureTrack* track = judged(kDmdGradient);
  if (track == nullptr) return;
  const double median = track->median();
  exploding_ = value > limits_.explosion_factor * median ? exploding_ + 1 : 0;
  if (exploding_ < limits_.explosion_length) return;
  raise("dmd_gradient_explosion",
        kDmdGradient,
        formatted("health: the DMD gradient exploded: {} is {:.3g} at step {}, {:.3g} times its "
                  "running median; the scores no longer agree anywhere: lower the generator's "
                  "optimizer.lr or raise objective.dmd.dfake_gen_update_ratio",
                  kDmdGradient,
                  value,
                  step,
                  value / median));
}

void HealthMonitor::check_dmd_collapse(int64_t step) {
  const FigureTrack* track = judged(kDmdGradient);
  if (track == nullptr) return;
  const double median = track->median(), highest = track->highest_median();
  if (median > limits_.collapse_factor * highest) return;
  raise("dmd_gradient_collapse",
        kDmdGradient,
        formatted("health: the DMD gradient died: the running median of {} is {:.3g} at step {} "
                  "(it was {:.3g}), so the generator learns nothing; check that real_score and "
                  "fake_score are different networks and that objective.dmd.guidance_scale is "
                  "above 1",
                  kDmdGradient,
                  median,
                  step,
                  highest));
}

void HealthMonitor::check_overflow(int64_t step, const std::string& name, double value) {
  if (std::abs(value) < limits_.near_overflow) return;
  raise("loss_near_overflow",
        name,
        formatted("health: {} is {:.3g} at step {}, close to what fp32 can hold; stop, lower "
                  "optimizer.lr and go on from an earlier checkpoint",
                  name,
                  value,
                  step));
}

void HealthMonitor::check_flat_loss(int64_t step, const std::string& name, double value) {
  const FigureTrack* track = find(name);
  if (track == nullptr || !track->full()) return;
  const auto [least, most] = std::ranges::minmax(track->recent());
  if (most - least > limits_.flat_range * std::max(std::abs(least), std::abs(most))) return;
  raise("loss_flat",
        name,
        formatted("health: {} has been {:.3g} for {} observations up to step {} although every "
                  "batch differs; the network's output does not depend on its input any more: "
                  "lower optimizer.lr and go on from an earlier checkpoint",
                  name,
                  value,
                  limits_.window,
                  step));
}

void HealthMonitor::check_critic_lag(int64_t step) {
  const FigureTrack* critic = judged(kCriticLoss);
  if (critic == nullptr) return;
  const double lowest = critic->lowest_smoothed();
  const double lag = lowest > 0 ? std::abs(critic->smoothed()) / lowest : 1;
  if (!(lag > limits_.critic_lag)) return;
  raise("critic_lags",
        kCriticLoss,
        formatted("health: the critic falls behind: its smoothed loss is {:.3g} times its lowest "
                  "at step {}; raise objective.dmd.dfake_gen_update_ratio or the learning rate of "
                  "objective.dmd.fake_score_optimizer, or lower the generator's",
                  lag,
                  step));
}

void HealthMonitor::check_divergence(int64_t step) {
  const FigureTrack* track = judged(kCriticBesideGenerator);
  if (track == nullptr) return;
  const HalfMeans critic = track->halves(), generator = find(kGeneratorLoss)->halves();
  if (!critic.rises(limits_.trend, limits_.trend_errors) ||
      !generator.falls(limits_.trend, limits_.trend_errors)) {
    return;
  }
  raise("critic_diverges",
        kCriticLoss,
        formatted("health: the critic's loss rises ({:.3g} to {:.3g}) while the generator's falls "
                  "({:.3g} to {:.3g}) up to step {}: the generator fools a critic that no longer "
                  "follows it; raise objective.dmd.dfake_gen_update_ratio or lower the "
                  "generator's optimizer.lr",
                  critic.first,
                  critic.second,
                  generator.first,
                  generator.second,
                  step));
}

void HealthMonitor::observe_one(int64_t step, const std::string& name, double value) {
  const bool loss = is_of_a_player(name, "loss"), gradient = is_of_a_player(name, "grad_norm");
  if (!loss && !gradient && name != kDmdGradient) return;
  if (gradient) check_gradient(step, name, value);
  add(name, value);
  if (loss) {
    check_overflow(step, name, value);
    check_flat_loss(step, name, value);
  }
  if (name == kDmdGradient) {
    check_dmd_explosion(step, value);
    check_dmd_collapse(step);
  }
  if (name == kCriticLoss) {
    critic_sum_ += value;
    critic_count_ += 1;
    check_critic_lag(step);
  }
}

std::vector<HealthAlarm> HealthMonitor::observe(int64_t step, const NamedValues& values) {
  bool generator_updated = false;
  for (const auto& [name, value] : values) {
    if (!std::isfinite(value)) continue;
    observe_one(step, name, value);
    generator_updated = generator_updated || name == kGeneratorLoss;
  }
  if (generator_updated && critic_count_ > 0) {
    add(kCriticBesideGenerator, std::exchange(critic_sum_, 0) / critic_count_);
    critic_count_ = 0;
    check_divergence(step);
  }
  return std::exchange(alarms_, {});
}

NamedValues HealthMonitor::figures() const {
  NamedValues figures;
  const FigureTrack* critic = find(kCriticLoss);
  if (critic == nullptr) return figures;
  const FigureTrack* generator = find(kGeneratorLoss);
  if (generator != nullptr && generator->smoothed() != 0) {
    figures.emplace_back("fake_score_loss_ratio", critic->smoothed() / generator->smoothed());
  }
  if (critic->lowest_smoothed() > 0) {
    figures.emplace_back("critic_lag", std::abs(critic->smoothed()) / critic->lowest_smoothed());
  }
  return figures;
}

}  // namespace vmla::analysis
