#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// Whether a training run is healthy, told from the figures of its steps alone. Distillation fails
/// in ways that a loss curve hides: a critic that falls behind its generator, a DMD gradient that
/// dies or explodes. Each condition becomes one line for the log, once a run.
namespace vmla::analysis {

/// When a figure is taken for a fault. Counts are observations of one figure: a generator that is
/// updated at every fifth step is observed five times less often than its critic.
struct HealthLimits {
  int64_t window = 64;       // observations behind every median and trend
  int64_t warmup = 32;       // observations before anything is judged
  double spike_factor = 10;  // gradient norm over its running median
  double trend = 1.2;        // ratio of a window's second half to its first: rising, falling
  double trend_errors = 4;   // ... and so many standard errors apart, so that noise is no trend
  double critic_lag = 2;     // the critic's smoothed loss over its lowest
  double collapse_factor = 1e-3;  // DMD gradient below this share of its highest running median
  double explosion_factor = 20;   // DMD gradient above this multiple of its running median ...
  int64_t explosion_length = 3;   // ... so many times in a row
  double flat_range = 1e-6;       // (max - min) / |mean| of a window of losses
  double near_overflow = 1e15;    // |loss|: its gradient's squares overflow fp32 from here on
};

/// One condition that became true.
struct HealthAlarm {
  std::string condition;  // "gradient_spike", "critic_diverges", "critic_lags",
                          // "dmd_gradient_collapse", "dmd_gradient_explosion", "loss_flat",
                          // "loss_near_overflow"
  std::string message;    // one line: what was seen, at which step, and what to do
};

using NamedValues = std::vector<std::pair<std::string, double>>;

/// Watches one run. Reads `loss`, `loss_PLAYER`, `grad_norm`, `grad_norm_PLAYER` and
/// `dmd_gradient_norm`; other figures are ignored, and so is a value that is not finite (the loop
/// stops the run on its own).
class HealthMonitor {
 public:
  explicit HealthMonitor(HealthLimits limits = {}) : limits_(limits) {}

  /// Feeds the figures of one step, those that the step has. Returns the alarms that it sets off;
  /// a condition is reported once for each figure it is about. A pure function of everything fed.
  std::vector<HealthAlarm> observe(int64_t step, const NamedValues& values);

  /// Derived figures for the step's log, those that are known: `fake_score_loss_ratio` (smoothed
  /// critic loss / smoothed generator loss) and `critic_lag` (smoothed critic loss / its lowest so
  /// far; 1 is a critic that keeps up).
  NamedValues figures() const;

 private:
  struct Track {
    std::deque<double> recent;  // the last `window` values
    int64_t count = 0;
    double smooth = 0;        // exponential mean of span `window`, unbiased from the start
    double weight = 0;        // what `smooth` is to be divided by
    double best_smooth = 0;   // lowest |smoothed| value after the warm-up
    double best_median = 0;   // highest running median after the warm-up
    int64_t above_limit = 0;  // values in a row beyond the explosion's limit
    double smoothed() const { return smooth / weight; }
  };

  bool judged(const Track& track) const { return track.count > limits_.warmup; }
  const Track* find(const std::string& name) const;
  void check_gradient(int64_t step, const std::string& name, double value);
  void check_dmd_gradient(int64_t step, double value);
  void check_loss(int64_t step, const std::string& name, double value);
  void check_critic_lag(int64_t step);
  void check_divergence(int64_t step);
  void add(Track& track, double value) const;
  void raise(const std::string& condition, const std::string& figure, const std::string& message);

  HealthLimits limits_;
  std::map<std::string, Track> tracks_;
  double critic_sum_ = 0, critic_count_ = 0;  // critic losses since the generator's last update
  std::set<std::string> raised_;              // condition and figure
  std::vector<HealthAlarm> alarms_;
};

}  // namespace vmla::analysis
