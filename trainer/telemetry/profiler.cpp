#include "trainer/telemetry/profiler.h"

#include "model/io/error.h"
#include "model/io/log.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <set>

namespace vmla::trainer {
namespace {

// The first steps allocate and fill caches, which the others do not.
constexpr int64_t kWarmUpSteps = 3;

using torch::autograd::profiler::ActivityType;

std::set<ActivityType> activities(bool with_kernels) {
  std::set<ActivityType> kinds = {ActivityType::CPU};
  if (with_kernels) kinds.insert(ActivityType::CUDA);
  return kinds;
}

torch::autograd::profiler::ProfilerConfig profiler_config() {
  return torch::autograd::profiler::ProfilerConfig(
      torch::autograd::profiler::ProfilerState::KINETO);
}

}  // namespace

Profiler::~Profiler() {
  if (recording_) torch::autograd::profiler::disableProfiler();
}

void Profiler::step_begins() {
  if (steps_ == 0 || recording_ || seen_ != kWarmUpSteps) return;
  torch::autograd::profiler::prepareProfiler(profiler_config(), activities(on_gpu_));
  torch::autograd::profiler::enableProfiler(profiler_config(), activities(on_gpu_));
  recording_ = true;
}

void Profiler::step_ended() {
  if (steps_ == 0) return;
  ++seen_;
  if (recording_ && seen_ == kWarmUpSteps + steps_) save();
}

void Profiler::save() {
  recording_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  result->save(file_.string());
  log::info("wrote a trace of {} steps to {} (open it in chrome://tracing or Perfetto)",
            steps_,
            file_.string());
}

}  // namespace vmla::trainer
