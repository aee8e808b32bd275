#include "launch/doctor/timing.h"

#include "launch/device_wait.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>

namespace vmla::launch::doctor {

double fastest(c10::Device device, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  wait_for(device);
  double best = std::numeric_limits<double>::infinity(), all = 0;
  for (int i = 0; i < 10 && all < 0.1; ++i) {
    const auto begin = Clock::now();
    work();
    wait_for(device);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::min(best, seconds);
    all += seconds;
  }
  return best;
}

std::string problem_of(const std::function<void()>& work) {
  std::string said;
  try {
    work();
    return {};
  } catch (const c10::Error& error) {
    said = error.what_without_backtrace();
  } catch (const std::exception& error) {
    said = error.what();
  }
  said = said.substr(0, said.find('\n'));
  return said.empty() ? "it failed and does not say why" : said;
}

}  // namespace vmla::launch::doctor
