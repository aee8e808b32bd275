#include "trainer/telemetry/process_memory.h"

#include <sys/resource.h>

namespace vmla::trainer {

int64_t peak_memory_bytes() {
  struct rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  constexpr int64_t kKibibyte = 1024;  // ru_maxrss counts in them on Linux
  return usage.ru_maxrss * kKibibyte;
}

}  // namespace vmla::trainer
