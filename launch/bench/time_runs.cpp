#include "launch/bench/time_runs.h"

#include <ctime>

#include "launch/device_wait.h"

namespace vmla::launch::bench {
namespace {

double seconds_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

StopWatch::StopWatch()
    : wall_(seconds_of(CLOCK_MONOTONIC)), processor_(seconds_of(CLOCK_PROCESS_CPUTIME_ID)) {}

Seconds StopWatch::elapsed() const {
  return {.wall = seconds_of(CLOCK_MONOTONIC) - wall_,
          .processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - processor_};
}

std::vector<Seconds> time_runs(c10::Device device,
                               const Repeats& repeats,
                               const std::function<void()>& run) {
  std::vector<Seconds> taken;
  for (int64_t i = 0; i < repeats.warm_up + repeats.count; ++i) {
    const StopWatch watch;
    run();
    wait_for(device);
    if (i >= repeats.warm_up) taken.push_back(watch.elapsed());
  }
  return taken;
}

}  // namespace vmla::launch::bench
