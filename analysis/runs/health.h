#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "analysis/runs/figure_track.h"

/// Whether a training run is healthy, told from the figures of its steps alone. Distillation fails
/// in ways that a loss curve hides: a critic that falls behind its generator, a DMD gradient that
/// dies or explodes (docs/algorithms.md 10.6). Each condition becomes one line for the log, once a
/// run.
namespace vmla::analysis {

/// When a figure is taken for a fault. Counts are observations of one figure: a generator that is
/// updated at every fifth step is observed five times less often than its critic.
struct HealthLimits {
  /// Observations behind every median, mean and trend.
  int64_t window = 64;
  /// Observations before anything is judged.
  int64_t warmup = 32;
  /// Gradient norm over its running median.
  double spike_factor = 10;
  /// A trend: the ratio of the means of a window's halves, and how many standard errors they must
  /// lie apart as well, so that noise is no trend.
  double trend = 1.2;
  double trend_errors = 4;
  /// The critic's smoothed loss over its lowest.
  double critic_lag = 2;
  /// The DMD gradient's running median over its highest: below this the gradient has died.
  double collapse_factor = 1e-3;
  /// The DMD gradient over its running median: above this, so many times in a row, it explodes.
  double explosion_factor = 20;
  int64_t explosion_length = 3;
  /// (max - min) / max |loss| of a window: at most this is a loss that stands still.
  double flat_range = 1e-6;
  /// |loss|: squares of its gradient overflow fp32 from about here on.
  double near_overflow = 1e15;
};

/// One condition that became true.
struct HealthAlarm {
  /// "gradient_spike", "critic_diverges", "critic_lags", "dmd_gradient_collapse",
  /// "dmd_gradient_explosion", "loss_flat" or "loss_near_overflow".
  std::string condition;
  /// One line: what was seen, at which step, and what to do.
  std::string message;
};

using NamedValues = std::vector<std::pair<std::string, double>>;

/// Watches one run. Reads `loss`, `loss_PLAYER`, `grad_norm`, `grad_norm_PLAYER` and
/// `dmd_gradient_norm`. Other figures are ignored, and so is a value that is not finite: on that
/// the training loop stops the run itself.
class HealthMonitor {
 public:
  explicit HealthMonitor(HealthLimits limits = {}) : limits_(limits) {}

  /// Feeds the figures of one step, those that the step has. Returns the alarms that it sets off;
  /// a condition is reported once for each figure it is about. A pure function of everything fed.
  std::vector<HealthAlarm> observe(int64_t step, const NamedValues& values);

  /// Figures for the step's log that follow from all before, as far as they are known:
  /// - `fake_score_loss_ratio`: the critic's smoothed loss over the generator's. Its level means
  ///   nothing; a steady rise says that the critic loses touch.
  /// - `critic_lag`: the critic's smoothed loss over its lowest so far, 1 or more. 1 is a critic
  ///   that follows its generator; above HealthLimits::critic_lag it falls behind.
  NamedValues figures() const;

 private:
  const FigureTrack* find(const std::string& name) const;
  const FigureTrack* judged(const std::string& name) const;
  void add(const std::string& name, double value);
  void observe_one(int64_t step, const std::string& name, double value);
  void check_gradient(int64_t step, const std::string& name, double value);
  void check_dmd_explosion(int64_t step, double value);
  void check_dmd_collapse(int64_t step);
  void check_overflow(int64_t step, const std::string& name, double value);
  void check_flat_loss(int64_t step, const std::string& name, double value);
  void check_critic_lag(int64_t step);
  void check_divergence(int64_t step);
  void raise(const std::string& condition, const std::string& figure, const std::string& message);

  HealthLimits limits_;
  std::map<std::string, FigureTrack> tracks_;
  /// Critic losses since the generator's last update, and how many.
  double critic_sum_ = 0, critic_count_ = 0;
  /// DMD gradients in a row beyond the explosion's limit.
  int64_t exploding_ = 0;
  /// Condition and figure of every alarm so far.
  std::set<std::string> raised_;
  /// Those of the step that is being observed.
  std::vector<HealthAlarm> alarms_;
};

}  // namespace vmla::analysis
