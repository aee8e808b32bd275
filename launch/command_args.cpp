#include "launch/command_args.h"

#include <algorithm>

#include "trainer/pipeline/cpu_threads.h"

namespace vmla::launch {

CpuThreads CommandArgs::default_threads(int64_t processes) {
  return {.count = std::min<int64_t>(trainer::available_cores(processes), 8), .asked_for = false};
}

}  // namespace vmla::launch
