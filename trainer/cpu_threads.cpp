#include "trainer/cpu_threads.h"

#include <algorithm>

namespace vmla::trainer {

int64_t cpu_threads(const TrainConfig& config, int64_t cores) {
  if (config.train.threads > 0) return config.train.threads;
  // At width 64 a second thread was measured to gain nothing; at 256 a block's products are worth
  // splitting.
  constexpr int64_t kNarrow = 256, kMost = 8;
  if (config.model.dim < kNarrow) return 1;
  return std::clamp<int64_t>(cores, 1, kMost);
}

}  // namespace vmla::trainer
