#pragma once

#include "kernels/device_span.h"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// Seconds of one step by phase ("data", "forward", ...). begin() ends the phase before it; a phase
/// that comes again adds up. What begins before any phase counts for the step alone. One thread.
///
/// On a GPU the host runs ahead of the device, so there a phase is timed by the device: from when
/// it comes to what follows begin() to when it comes to what follows the next one. The host must
/// have waited for the last phase's beginning before stop(), which counts nothing for that phase,
/// for its end may be still to come. The step's own seconds are the host's.
class StepTimer {
 public:
  using Clock = std::chrono::steady_clock;
  explicit StepTimer(c10::Device device = c10::kCPU) : device_(device) {}

  void start();
  void begin(const std::string& phase);
  /// The phase that runs is of another name than was thought when it began.
  void rename(const std::string& phase) { beginnings_.back().phase = phase; }
  /// Ends the step; returns its seconds.
  double stop();
  const std::map<std::string, double>& phases() const { return phases_; }

 private:
  struct Beginning {
    std::string phase;
    kernels::DeviceMark mark;
  };

  c10::Device device_;
  std::map<std::string, double> phases_;
  std::vector<Beginning> beginnings_;
  Clock::time_point start_{};
};

}  // namespace vmla::trainer
