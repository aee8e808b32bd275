#include "trainer/telemetry/tensor_memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <atomic>
#include <cstring>
#include <mutex>

namespace vmla::trainer {
namespace {

/// Bytes that any thread may add and subtract: the loader's threads make tensors too.
class Counter {
 public:
  void add(int64_t bytes) {
    const int64_t live = live_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    int64_t peak = peak_.load(std::memory_order_relaxed);
    while (live > peak && !peak_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
  }
  void subtract(int64_t bytes) { live_.fetch_sub(bytes, std::memory_order_relaxed); }
  void reset_peak() { peak_.store(live_.load(std::memory_order_relaxed)); }
  TensorBytes bytes() const { return {live_.load(), peak_.load()}; }

 private:
  std::atomic<int64_t> live_ = 0, peak_ = 0;
};

// An allocator's release function is given nothing but a pointer, so the counters cannot be
// members.
Counter cpu_counter, meta_counter;
c10::DeleterFnPtr release_block = nullptr;  // of the allocator that was there before

/// Room in front of a block for its size; the block keeps the alignment that LibTorch gives it.
constexpr size_t kHeader = c10::gAlignment;

/// LibTorch's CPU allocator, with the size of each block noted in front of it, and counted.
class CountingCpuAllocator : public c10::Allocator {
 public:
  explicit CountingCpuAllocator(c10::Allocator& inner) : inner_(inner) {
    release_block = inner.raw_deleter();
  }
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    auto* block = static_cast<char*>(inner_.raw_allocate(bytes + kHeader));
    std::memcpy(block, &bytes, sizeof(bytes));
    cpu_counter.add(static_cast<int64_t>(bytes));
    return {block + kHeader, block + kHeader, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }

 private:
  static void release(void* data) {
    if (data == nullptr) return;
    char* block = static_cast<char*>(data) - kHeader;
    size_t bytes = 0;
    std::memcpy(&bytes, block, sizeof(bytes));
    cpu_counter.subtract(static_cast<int64_t>(bytes));
    release_block(block);
  }
  c10::Allocator& inner_;
};

/// Counts tensors of the meta device, which have no memory: the size is kept where others keep the
/// address.
class CountingMetaAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    meta_counter.add(static_cast<int64_t>(bytes));
    return {nullptr, reinterpret_cast<void*>(bytes), &release, c10::Device(c10::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, size_t) const override {}

 private:
  static void release(void* bytes) {
    meta_counter.subtract(static_cast<int64_t>(reinterpret_cast<size_t>(bytes)));
  }
};

/// A device without an index is the one that this thread computes on: on several GPUs a rank's own.
c10::DeviceIndex index_of(c10::Device device) {
  if (device.has_index()) return device.index();
  return c10::impl::VirtualGuardImpl(device.type()).getDevice().index();
}

}  // namespace

void count_tensor_bytes() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Never destroyed: tensors may outlive every scope of ours.
    c10::SetCPUAllocator(new CountingCpuAllocator(*c10::GetCPUAllocator()), /*priority=*/100);
    c10::SetAllocator(c10::kMeta, new CountingMetaAllocator, /*priority=*/100);
  });
}

bool is_counted(const at::Tensor& tensor) {
  return tensor.storage().data_ptr().get_deleter() == c10::GetCPUAllocator()->raw_deleter();
}

TensorBytes tensor_bytes(c10::Device device) {
  if (device.is_cpu()) return cpu_counter.bytes();
  if (device.is_meta()) return meta_counter.bytes();
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(index_of(device));
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[kAll].current, stats.allocated_bytes[kAll].peak};
}

void reset_tensor_peak(c10::Device device) {
  if (device.is_cpu()) {
    cpu_counter.reset_peak();
  } else if (device.is_meta()) {
    meta_counter.reset_peak();
  } else {
    c10::getDeviceAllocator(device.type())->resetPeakStats(index_of(device));
  }
}

}  // namespace vmla::trainer
