#include "tests/standin/pinned_memory.h"

#include <c10/util/Exception.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "tests/standin/stream_order.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

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

  std::mutex mutex_;
  std::map<const char*, size_t> blocks_;
  std::multimap<size_t, void*> free_;
};

PinnedMemory& memory() {
  static auto* const made = new PinnedMemory;
  return *made;
}

/// A copy under way keeps its tensor, so a block that is freed meanwhile was lent to it by
/// from_blob, behind LibTorch's back.
void PinnedMemory::release(void* data) {
  PinnedMemory& m = memory();
  const std::lock_guard lock(m.mutex_);
  const auto* const begin = static_cast<const char*>(data);
  const size_t bytes = m.blocks_.at(begin);
  if (is_in_flight(begin, begin + bytes)) {
    std::fputs("stand-in: page-locked memory was freed while a copy uses it\n", stderr);
    std::abort();
  }
  m.free_.emplace(bytes, data);
}

}  // namespace

c10::Allocator* pinned_allocator() {
  return &memory();
}

bool is_pinned(const void* address) {
  return memory().owns(address);
}

}  // namespace vmla::standin
