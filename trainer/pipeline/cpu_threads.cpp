#include "trainer/pipeline/cpu_threads.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <thread>

namespace vmla::trainer {

int64_t cpu_threads(const TrainConfig& config, int64_t cores) {
  if (config.train.threads > 0) return config.train.threads;
  // At width 64 a second thread was measured to gain nothing; at 256 a block's products are worth
  // splitting.
  constexpr int64_t kNarrow = 256, kMost = 8;
  if (config.model.dim < kNarrow) return 1;
  return std::clamp<int64_t>(cores, 1, kMost);
}

int64_t available_cores(int64_t processes) {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const std::string_view value(text);
    int64_t count = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
    if (error == std::errc{} && end == value.data() + value.size() && count > 0) return count;
  }
  return std::max<int64_t>(1, std::thread::hardware_concurrency() / processes);
}

}  // namespace vmla::trainer
