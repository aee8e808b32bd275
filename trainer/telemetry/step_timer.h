#pragma once

#include <c10/core/Event.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// Seconds of one step by phase ("data", "forward", ...). begin() ends the phase before it; a phase
/// that comes again adds up. What begins before any phase counts for the step alone. One thread.
///
/// On a GPU the host runs ahead of the device, so there a phase is timed between events of the
/// current stream: from when the device comes to what follows its begin() to when it comes to what
/// follows the next one. The host must have waited for the last phase's beginning before stop(),
/// which counts nothing for that phase, for its end may be still to come. The step's own seconds
/// are the host's.
class StepTimer {
 public:
  using Clock = std::chrono::steady_clock;
  explicit StepTimer(c10::Device device = c10::kCPU) : device_(device) {}

  void start();
  void begin(const std::string& phase);
  /// Ends the step; returns its seconds.
  double stop();
  const std::map<std::string, double>& phases() const { return phases_; }

 private:
  struct Mark {
    std::string phase;
    Clock::time_point time;
  };
  double seconds_between(size_t first, size_t second) const;

  c10::Device device_;
  std::map<std::string, double> phases_;
  std::vector<Mark> marks_;
  std::vector<c10::Event> events_;  // of the marks, on a GPU; kept for the next step
  Clock::time_point start_{};
};

}  // namespace vmla::trainer
