#include "trainer/telemetry/step_timer.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace vmla::trainer {

void StepTimer::start() {
  phases_.clear();
  marks_.clear();
  start_ = Clock::now();
}

void StepTimer::begin(const std::string& phase) {
  marks_.push_back({phase, Clock::now()});
  if (device_.is_cpu()) return;
  // An event that PyTorch's flag makes has no time.
  if (events_.size() < marks_.size())
    events_.emplace_back(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  events_[marks_.size() - 1].record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
}

double StepTimer::stop() {
  const auto end = Clock::now();
  for (size_t i = 0; i + 1 < marks_.size(); ++i)
    phases_[marks_[i].phase] += seconds_between(i, i + 1);
  if (device_.is_cpu() && !marks_.empty()) {
    const Mark& last = marks_.back();
    phases_[last.phase] += std::chrono::duration<double>(end - last.time).count();
  }
  return std::chrono::duration<double>(end - start_).count();
}

double StepTimer::seconds_between(size_t first, size_t second) const {
  if (device_.is_cpu())
    return std::chrono::duration<double>(marks_[second].time - marks_[first].time).count();
  constexpr double kMillisecond = 1e-3;
  return events_[first].elapsedTime(events_[second]) * kMillisecond;
}

}  // namespace vmla::trainer
