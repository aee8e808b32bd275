#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "launch/bench/bench_page.h"

namespace vmla::launch::bench {

struct Repeats {
  int64_t warm_up = 2;  // runs that are not counted
  int64_t count = 5;
};

/// Seconds since it was made: by the clock, and of this process's threads.
class StopWatch {
 public:
  StopWatch();
  Seconds elapsed() const;

 private:
  double wall_, processor_;
};

/// The seconds of `repeats.count` calls of `run` after those that warm up. The device has finished
/// when the clock is read.
std::vector<Seconds> time_runs(c10::Device device,
                               const Repeats& repeats,
                               const std::function<void()>& run);

}  // namespace vmla::launch::bench
