#include "analysis/runs/health.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

const char kCriticLoss[] = "loss_fake_score";
// The mean critic loss between two updates of the generator: both windows cover the same steps.
const char kCriticBesideGenerator[] = "critic beside generator";
const char kDmdGradient[] = "dmd_gradient_norm";

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

double median_of(const std::deque<double>& values) {
  std::vector<double> sorted(values.begin(), values.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

struct HalfMeans {
  double first = 0, second = 0;
  double standard_error = 0;  // of their difference
};

HalfMeans half_means(const std::deque<double>& values) {
  const size_t half = values.size() / 2;
  const auto mean_and_variance = [&](size_t from, size_t to) {
    const auto count = static_cast<double>(to - from);
    double mean = 0, squares = 0;
    for (size_t i = from; i < to; ++i) mean += values[i] / count;
    for (size_t i = from; i < to; ++i) squares += (values[i] - mean) * (values[i] - mean);
    return std::pair{mean, squares / std::max(count - 1, 1.0) / count};
  };
  const auto [first, first_variance] = mean_and_variance(0, half);
  const auto [second, second_variance] = mean_and_variance(half, values.size());
  return {first, second, std::sqrt(first_variance + second_variance)};
}

}  // namespace

const HealthMonitor::Track* HealthMonitor::find(const std::string& name) const {
  const auto found = tracks_.find(name);
  return found == tracks_.end() ? nullptr : &found->second;
}

void HealthMonitor::raise(const std::string& condition,
                          const std::string& figure,
                          const std::string& message) {
  if (raised_.insert(condition + " " + figure).second) alarms_.push_back({condition, message});
}

void HealthMonitor::add(Track& track, double value) const {
  track.recent.push_back(value);
  if (static_cast<int64_t>(track.recent.size()) > limits_.window) track.recent.pop_front();
  ++track.count;
  const double keep = std::exp(-1.0 / static_cast<double>(limits_.window));
  track.smooth = keep * track.smooth + (1 - keep) * value;
  track.weight = keep * track.weight + (1 - keep);
  if (!judged(track)) return;
  const double median = median_of(track.recent), level = std::abs(track.smoothed());
  track.best_median = std::max(track.best_median, median);
  track.best_smooth = track.best_smooth > 0 ? std::min(track.best_smooth, level) : level;
}

// Compares with the values before this one: a spike must not raise its own median.
void HealthMonitor::check_gradient(int64_t step, const std::string& name, double value) {
  const Track* before = find(name);
  if (before == nullptr || !judged(*before)) return;
  const double median = median_of(before->recent);
  if (value <= limits_.spike_factor * median) return;
  raise("gradient_spike",
        name,
        formatted("health: {} jumped to {} at step {}, {} times its running median of {}; if it "
                  "comes back, lower optimizer.lr or optimizer.max_grad_norm",
                  name,
                  shown(value),
                  step,
                  shown(value / median),
                  shown(median)));
}

void HealthMonitor::check_dmd_gradient(int64_t step, double value) {
  const auto found = tracks_.find(kDmdGradient);
  if (found == tracks_.end() || !judged(found->second)) return;
  Track& track = found->second;
  const double median = median_of(track.recent);
  track.above_limit = value > limits_.explosion_factor * median ? track.above_limit + 1 : 0;
  if (track.above_limit >= limits_.explosion_length) {
    raise("dmd_gradient_explosion",
          kDmdGradient,
          formatted("health: the DMD gradient exploded: {} is {} at step {}, {} times its running "
                    "median; the scores no longer agree anywhere: lower the generator's "
                    "optimizer.lr or raise objective.dmd.dfake_gen_update_ratio",
                    kDmdGradient,
                    shown(value),
                    step,
                    shown(value / median)));
  }
  if (median <= limits_.collapse_factor * track.best_median) {
    raise(
        "dmd_gradient_collapse",
        kDmdGradient,
        formatted("health: the DMD gradient died: the running median of {} is {} at step {} (it "
                  "was {}), so the generator learns nothing; check that real_score and fake_score "
                  "are different networks and that objective.dmd.guidance_scale is above 1",
                  kDmdGradient,
                  shown(median),
                  step,
                  shown(track.best_median)));
  }
}

void HealthMonitor::check_loss(int64_t step, const std::string& name, double value) {
  if (std::abs(value) >= limits_.near_overflow) {
    raise("loss_near_overflow",
          name,
          formatted("health: {} is {} at step {}, close to what fp32 can hold; stop, lower "
                    "optimizer.lr and go on from an earlier checkpoint",
                    name,
                    shown(value),
                    step));
  }
  const Track* track = find(name);
  if (track == nullptr || static_cast<int64_t>(track->recent.size()) < limits_.window) return;
  const auto [least, most] = std::minmax_element(track->recent.begin(), track->recent.end());
  const double size = std::max(std::abs(*least), std::abs(*most));
  if (*most - *least <= limits_.flat_range * size) {
    raise("loss_flat",
          name,
          formatted("health: {} has been {} for {} observations up to step {} although every batch "
                    "differs; the network's output does not depend on its input any more: lower "
                    "optimizer.lr and go on from an earlier checkpoint",
                    name,
                    shown(value),
                    limits_.window,
                    step));
  }
}

void HealthMonitor::check_critic_lag(int64_t step) {
  const Track* critic = find(kCriticLoss);
  if (critic == nullptr || !judged(*critic)) return;
  const double lag =
      critic->best_smooth > 0 ? std::abs(critic->smoothed()) / critic->best_smooth : 1;
  if (lag > limits_.critic_lag) {
    raise("critic_lags",
          kCriticLoss,
          formatted("health: the critic falls behind: its smoothed loss is {} times its lowest at "
                    "step {}; raise objective.dmd.dfake_gen_update_ratio or the learning rate of "
                    "objective.dmd.fake_score_optimizer, or lower the generator's",
                    shown(lag),
                    step));
  }
}

void HealthMonitor::check_divergence(int64_t step) {
  const Track* critic = find(kCriticBesideGenerator);
  const Track* generator = find("loss");
  if (critic == nullptr || !judged(*critic)) return;
  const HalfMeans c = half_means(critic->recent), g = half_means(generator->recent);
  const bool rises = c.second > limits_.trend * c.first &&
                     c.second - c.first > limits_.trend_errors * c.standard_error;
  const bool falls = g.first > limits_.trend * g.second &&
                     g.first - g.second > limits_.trend_errors * g.standard_error;
  if (rises && falls) {
    raise("critic_diverges",
          kCriticLoss,
          formatted(
              "health: the critic's loss rises ({} to {}) while the generator's falls ({} to {}) "
              "up to step {}: the generator fools a critic that no longer follows it; raise "
              "objective.dmd.dfake_gen_update_ratio or lower the generator's optimizer.lr",
              shown(c.first),
              shown(c.second),
              shown(g.first),
              shown(g.second),
              step));
  }
}

std::vector<HealthAlarm> HealthMonitor::observe(int64_t step, const NamedValues& values) {
  bool generator = false;
  for (const auto& [name, value] : values) {
    if (!std::isfinite(value)) continue;
    const bool loss = name == "loss" || name.starts_with("loss_");
    const bool gradient = name == "grad_norm" || name.starts_with("grad_norm_");
    if (!loss && !gradient && name != kDmdGradient) continue;
    if (gradient) check_gradient(step, name, value);
    add(tracks_[name], value);
    if (loss) check_loss(step, name, value);
    if (name == kDmdGradient) check_dmd_gradient(step, value);
    generator = generator || name == "loss";
    if (name == kCriticLoss) {
      critic_sum_ += value;
      critic_count_ += 1;
      check_critic_lag(step);
    }
  }
  if (generator && critic_count_ > 0) {
    add(tracks_[kCriticBesideGenerator], std::exchange(critic_sum_, 0) / critic_count_);
    critic_count_ = 0;
    check_divergence(step);
  }
  return std::exchange(alarms_, {});
}

NamedValues HealthMonitor::figures() const {
  NamedValues figures;
  const Track* critic = find(kCriticLoss);
  if (critic == nullptr) return figures;
  const Track* generator = find("loss");
  if (generator != nullptr && generator->smoothed() != 0) {
    figures.emplace_back("fake_score_loss_ratio", critic->smoothed() / generator->smoothed());
  }
  if (critic->best_smooth > 0) {
    figures.emplace_back("critic_lag", std::abs(critic->smoothed()) / critic->best_smooth);
  }
  return figures;
}

}  // namespace vmla::analysis
