#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace vmla::tests {

/// What LibTorch's CPU allocator does on this thread.
struct AllocationLog : c10::MemoryReportingInfoBase {
  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
    live += bytes;
    peak = std::max(peak, live);
    if (bytes > 0) {
      allocated += bytes;
      ++allocations;
    }
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t live = 0, peak = 0, allocated = 0, allocations = 0;
};

/// The most bytes that tensors of this thread held at once while `work` ran, beside those that were
/// there before.
template <class Work>
int64_t peak_bytes_of(const Work& work) {
  const auto log = std::make_shared<AllocationLog>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, log);
  work();
  return log->peak;
}

}  // namespace vmla::tests
