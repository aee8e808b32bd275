#pragma once

#include <chrono>
#include <cstdint>

/// Time as this folder counts it: in seconds, as doubles.
namespace vmla::distributed {

/// Does not jump when the host's time is set.
using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The time of day, which hosts agree on more or less: seconds since 1970.
inline double time_of_day() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// As c10d and the standard library want their timeouts.
inline std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3));
}

}  // namespace vmla::distributed
