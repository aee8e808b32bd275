#pragma once

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// CPU threads for a stage on `cores` cores: train.threads if given; one for a narrow model, whose
/// matrices are too small for a second thread to gain anything; else up to eight. Never more than
/// `cores` by default.
int64_t cpu_threads(const TrainConfig& config, int64_t cores);

/// Cores this process may count on: OMP_NUM_THREADS when a parent has set it (a pipeline shares the
/// machine among its stages), else its share of all when `processes` like it run on the machine.
int64_t available_cores(int64_t processes = 1);

}  // namespace vmla::trainer
