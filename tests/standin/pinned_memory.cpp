#include "tests/standin/pinned_memory.h"

#include <c10/util/Exception.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>

#include "tests/standin/device.h"
#include "tests/standin/device_memory.h"
#include "tests/standin/stream_order.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

/// Whether the system lets this process write all of the bytes.
bool is_writable(const char* begin, const char* end) {
  std::ifstream maps("/proc/self/maps");
  const auto wanted = reinterpret_cast<uintptr_t>(end);
  auto at = reinterpret_cast<uintptr_t>(begin);
  for (std::string line; at < wanted && std::getline(maps, line);) {
    uintptr_t from = 0, to = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &from, &to, mode) != 3) continue;
    if (from <= at && at < to && mode[1] == 'w') at = to;
  }
  return at >= wanted;
}

class PinnedMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const std::lock_guard lock(mutex_);
    void* data = nullptr;
    if (const auto found = free_.lower_bound(bytes);
        found != free_.end() && found->first <= 2 * bytes) {
      data = found->second;
      free_.erase(found);
    } else {
      TORCH_CHECK(posix_memalign(&data, 4096, std::max<size_t>(bytes, 1)) == 0, "no memory");
      blocks_[static_cast<const char*>(data)] = bytes;
      note("pin", "allocate", static_cast<int64_t>(bytes));
    }
    return {data, data, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }
  std::string lock(const char* begin, size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (const char* const text = std::getenv("STANDIN_LOCKABLE");
        text != nullptr && locked_ + bytes > std::strtoull(text, nullptr, 10)) {
      return "out of memory (stand-in: STANDIN_LOCKABLE)";
    }
    const auto after = blocks_.lower_bound(begin + bytes);
    if (after != blocks_.begin()) {
      const auto& [other, other_bytes] = *std::prev(after);
      if (begin < other + other_bytes) return "some of these pages are locked (stand-in)";
    }
    // CUDA wants to be told of pages that may only be read.
    if (!is_writable(begin, begin + bytes)) return "invalid argument (stand-in)";
    use_context(current_device());
    blocks_[begin] = bytes;
    locked_ += bytes;
    note("pin", "lock", static_cast<int64_t>(bytes));
    return {};
  }
  void unlock(const char* begin) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(begin);
    TORCH_CHECK(found != blocks_.end(), "stand-in: pages are unlocked that were not locked");
    expect_idle(begin, found->second);
    locked_ -= found->second;
    blocks_.erase(found);
  }
  bool owns(const void* address) {
    const auto* const a = static_cast<const char*>(address);
    const std::lock_guard lock(mutex_);
    const auto after = blocks_.upper_bound(a);
    if (after == blocks_.begin()) return false;
    const auto& [begin, bytes] = *std::prev(after);
    return a < begin + bytes;
  }

 private:
  static void release(void* data);
  /// A copy under way keeps its tensor, so memory that goes meanwhile was lent to it by from_blob,
  /// behind LibTorch's back.
  static void expect_idle(const char* begin, size_t bytes) {
    if (!is_in_flight(begin, begin + bytes)) return;
    std::fputs("stand-in: page-locked memory was freed while a copy uses it\n", stderr);
    std::abort();
  }

  std::mutex mutex_;
  size_t locked_ = 0;  // of lock()
  std::map<const char*, size_t> blocks_;
  std::multimap<size_t, void*> free_;
};

PinnedMemory& memory() {
  static auto* const made = new PinnedMemory;
  return *made;
}

void PinnedMemory::release(void* data) {
  PinnedMemory& m = memory();
  const std::lock_guard lock(m.mutex_);
  const auto* const begin = static_cast<const char*>(data);
  const size_t bytes = m.blocks_.at(begin);
  expect_idle(begin, bytes);
  m.free_.emplace(bytes, data);
}

}  // namespace

c10::Allocator* pinned_allocator() {
  return &memory();
}

bool is_pinned(const void* address) {
  return memory().owns(address);
}

std::string lock_pages(void* begin, size_t bytes) {
  return memory().lock(static_cast<const char*>(begin), bytes);
}

void unlock_pages(void* begin) {
  memory().unlock(static_cast<const char*>(begin));
}

}  // namespace vmla::standin
