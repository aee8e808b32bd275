#pragma once

#include <chrono>
#include <map>
#include <string>

namespace vmla::trainer {

/// Seconds of one step by phase ("data", "forward", ...). begin() ends the phase before it; a phase
/// that comes again adds up. What begins before any phase counts for the step alone. On a GPU it
/// measures the host, which runs ahead of the device. One thread.
class StepTimer {
 public:
  using Clock = std::chrono::steady_clock;
  void start() {
    phases_.clear();
    phase_.clear();
    start_ = since_ = Clock::now();
  }
  void begin(const std::string& phase) {
    const auto now = Clock::now();
    close(now);
    phase_ = phase;
    since_ = now;
  }
  /// Ends the step; returns its seconds.
  double stop() {
    const auto now = Clock::now();
    close(now);
    phase_.clear();
    return std::chrono::duration<double>(now - start_).count();
  }
  const std::map<std::string, double>& phases() const { return phases_; }

 private:
  void close(Clock::time_point now) {
    if (!phase_.empty()) phases_[phase_] += std::chrono::duration<double>(now - since_).count();
  }
  std::map<std::string, double> phases_;
  std::string phase_;
  Clock::time_point start_{}, since_{};
};

}  // namespace vmla::trainer
