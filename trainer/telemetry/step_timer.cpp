#include "trainer/telemetry/step_timer.h"

namespace vmla::trainer {

void StepTimer::start() {
  phases_.clear();
  beginnings_.clear();
  start_ = Clock::now();
}

void StepTimer::begin(const std::string& phase) {
  beginnings_.push_back({phase, kernels::DeviceMark(device_)});
}

double StepTimer::stop() {
  if (device_.is_cpu()) begin({});  // the end of the last phase
  const auto end = Clock::now();
  for (size_t i = 0; i + 1 < beginnings_.size(); ++i) {
    const kernels::DeviceSpan span(beginnings_[i].mark, beginnings_[i + 1].mark);
    phases_[beginnings_[i].phase] += span.seconds();
  }
  return std::chrono::duration<double>(end - start_).count();
}

}  // namespace vmla::trainer
