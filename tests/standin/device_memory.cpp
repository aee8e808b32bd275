// Memory of the stand-in device. Its addresses lie in pages without any right, so that the host
// cannot touch them; the values are in a second range of the same layout.
#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "tests/standin/device.h"
#include "tests/standin/device_memory.h"
#include "tests/standin/stream_order.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

constexpr size_t kDeviceBytes = size_t{1} << 35;  // of addresses; memory is taken where it is used
// Blocks up to this size are filled with NaN. Larger ones hold the product whose rate is measured
// (trainer/telemetry/gemm_rate.cpp), and nothing of a test.
constexpr size_t kFilledBytes = size_t{16} << 20;
constexpr size_t kAlignment = 512;  // as CUDA's allocator gives
constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

struct Regions {
  char *device, *host;
};

const Regions& regions() {
  static const Regions made = [] {
    const auto map = [](int rights) {
      void* const p = mmap(nullptr,
                           kDeviceBytes * kMostDevices,
                           rights,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                           -1,
                           0);
      TORCH_CHECK(p != MAP_FAILED, "stand-in: no addresses");
      return static_cast<char*>(p);
    };
    return Regions{map(PROT_NONE), map(PROT_READ | PROT_WRITE)};
  }();
  return made;
}

bool is_device_address(const void* address) {
  const auto* a = static_cast<const char*>(address);
  return a >= regions().device && a < regions().device + kDeviceBytes * kMostDevices;
}

size_t device_of(const char* address) {
  return static_cast<size_t>(address - regions().device) / kDeviceBytes;
}

/// What this thread does for a graph: whose pool, and while it records, what it has written over.
struct GraphUse {
  int pool = 0;
  bool records = false;
  std::map<const char*, std::vector<char>> before;  // whole blocks
};
thread_local GraphUse graph_use;

void spoil(const char* address, size_t size) {
  if (size <= kFilledBytes) std::memset(host_of(address), 0xFF, size);
}

class DeviceMemory final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::DeviceIndex index = current_device();
    const c10::Device device(c10::kCUDA, index);
    if (bytes == 0) return {nullptr, nullptr, &release, device};
    use_context(index);
    const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const int stream = current_stream_index(index);
    const std::lock_guard lock(mutex_);
    Pool& pool = pools_[static_cast<size_t>(index)];
    const int of_graph = graph_use.records ? graph_use.pool : 0;
    char* address = nullptr;
    // A block is given again to the stream that had it, as CUDA's allocator does.
    const auto key = std::tuple(of_graph, of_graph > 0 ? 0 : stream, size);
    if (const auto found = pool.free.find(key); found != pool.free.end()) {
      address = found->second;
      pool.free.erase(found);
    } else {
      TORCH_CHECK(pool.top + size + kAlignment <= kDeviceBytes, "CUDA out of memory (stand-in)");
      address = regions().device + kDeviceBytes * static_cast<size_t>(index) + pool.top;
      pool.top += size + kAlignment;  // with a gap that is nobody's
    }
    Block& block = blocks_[address];  // of one that was there before, the uses stay known
    block.bytes = bytes;
    block.size = size;
    block.key = key;
    block.live = true;
    block.recorded = false;
    pool.stats.allocated_bytes[kAll].increase(size);
    spoil(address, size);  // nothing may rely on what was there
    return {address, address, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override {
    std::memcpy(host_of(to), host_of(from), count);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr& data, c10::Stream) override {
    const std::lock_guard lock(mutex_);
    blocks_.at(static_cast<const char*>(data.get())).recorded = true;
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    step_ends();  // the program asks when a step is over
    const std::lock_guard lock(mutex_);
    return pools_[static_cast<size_t>(device)].stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex device) override {
    step_begins();  // and forgets the peak when one begins
    const std::lock_guard lock(mutex_);
    pools_[static_cast<size_t>(device)].stats.allocated_bytes[kAll].reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override {
    return {kDeviceBytes, kDeviceBytes};
  }

  void touch(const char* address, size_t bytes, Access access) {
    const std::lock_guard lock(mutex_);
    const auto after = blocks_.upper_bound(address);
    TORCH_CHECK(after != blocks_.begin(), "stand-in: a kernel uses memory that nobody has");
    const auto& [begin, block] = *std::prev(after);
    const auto offset = static_cast<size_t>(address - begin);
    const int of_graph = std::get<0>(block.key);
    TORCH_CHECK(block.live || (of_graph > 0 && of_graph == graph_use.pool),
                "stand-in: a kernel uses memory that was freed, ",
                offset,
                " bytes into a block of ",
                block.bytes);
    // Among what a graph's operations shared one after the other, the last one's size says nothing.
    const size_t most = of_graph > 0 ? block.size : block.bytes;
    TORCH_CHECK(offset + bytes <= most,
                "stand-in: a kernel uses bytes ",
                offset,
                " to ",
                offset + bytes,
                " of a block of ",
                most);
    if (graph_use.records) {  // nothing is done in any stream yet
      if (access == Access::kWrites && of_graph != graph_use.pool)
        graph_use.before.try_emplace(begin, host_of(begin), host_of(begin) + block.bytes);
      return;
    }
    const auto device = static_cast<c10::DeviceIndex>(device_of(address));
    std::prev(after)->second.uses.add(current_stream_index(device), offset, offset + bytes, access);
  }

  /// Puts back what was written while recording, and spoils what was allocated.
  void end_recording() {
    const std::lock_guard lock(mutex_);
    for (const auto& [begin, values] : graph_use.before)
      std::memcpy(host_of(begin), values.data(), values.size());
    for (const auto& [begin, block] : blocks_)
      if (std::get<0>(block.key) == graph_use.pool) spoil(begin, block.size);
  }

  /// Nothing replays with this pool any more.
  void end_pool(int number) {
    const std::lock_guard lock(mutex_);
    for (Pool& pool : pools_)
      std::erase_if(pool.free, [&](const auto& free) { return std::get<0>(free.first) == number; });
  }

 private:
  using Key = std::tuple<int, int, size_t>;  // the graphs' pool or 0, the stream or 0, the size
  struct Pool {
    size_t top = 0;
    std::multimap<Key, char*> free;
    c10::CachingDeviceAllocator::DeviceStats stats;
  };
  struct Block {
    size_t bytes = 0, size = 0;
    Key key{};
    bool live = false, recorded = false;
    Uses uses;
  };
  static void release(void* data);

  std::mutex mutex_;
  Pool pools_[kMostDevices];
  std::map<const char*, Block> blocks_;
};

DeviceMemory& memory() {
  static auto* const made = new DeviceMemory;
  return *made;
}

void DeviceMemory::release(void* data) {
  if (data == nullptr) return;
  DeviceMemory& m = memory();
  auto* const address = static_cast<char*>(data);
  const std::lock_guard lock(m.mutex_);
  Block& block = m.blocks_.at(address);
  block.live = false;
  spoil(address, block.size);
  Pool& pool = m.pools_[device_of(address)];
  pool.stats.allocated_bytes[kAll].decrease(block.size);
  // CUDA's allocator keeps a block that record_stream named until that stream is done; here it is
  // not given again at all.
  if (!block.recorded || block.uses.all_finished()) pool.free.emplace(block.key, address);
}

/// The host touched an address: says whether it was the device's, and who did.
void on_fault(int, siginfo_t* info, void*) {
  const char* const what = is_device_address(info->si_addr)
                               ? "stand-in: the host touched memory of the device\n"
                               : "stand-in: segmentation fault\n";
  [[maybe_unused]] const auto ignored = write(2, what, std::strlen(what));
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
  _exit(139);
}

}  // namespace

void touch(const void* address, size_t bytes, Access access) {
  expect_alive();
  TORCH_CHECK(is_device_address(address),
              "stand-in: a kernel was given an address of the host (CUDA would say: an illegal "
              "memory access was encountered)");
  memory().touch(static_cast<const char*>(address), bytes, access);
}

char* host_of(const void* address) {
  TORCH_CHECK(is_device_address(address), "stand-in: not an address of the device");
  return regions().host + (static_cast<const char*>(address) - regions().device);
}

at::Tensor host_view(const at::Tensor& tensor, Access access) {
  const auto options = tensor.options().device(at::kCPU).requires_grad(false);
  if (tensor.numel() == 0) return at::empty_strided(tensor.sizes(), tensor.strides(), options);
  const void* const data = tensor.unsafeGetTensorImpl()->data();
  int64_t last = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  touch(data, static_cast<size_t>(last + 1) * tensor.itemsize(), access);
  return at::from_blob(host_of(data), tensor.sizes(), tensor.strides(), [](void*) {}, options);
}

at::Tensor unowned(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  if (tensor.numel() == 0) return at::empty(tensor.sizes(), tensor.options());
  if (tensor.is_cpu()) return tensor.clone();
  return at::from_blob(
      tensor.unsafeGetTensorImpl()->mutable_data(),
      tensor.sizes(),
      tensor.strides(),
      [](void*) {},
      tensor.options().requires_grad(false));
}

c10::Allocator* device_allocator() {
  return &memory();
}

c10::DeviceIndex device_of_address(const void* address) {
  if (!is_device_address(address)) return -1;
  return static_cast<c10::DeviceIndex>(device_of(static_cast<const char*>(address)));
}

GraphPool::~GraphPool() {
  memory().end_pool(number_);
}

RecordingMemory::RecordingMemory(const GraphPool& pool) {
  graph_use.pool = pool.number();
  graph_use.records = true;
}

RecordingMemory::~RecordingMemory() {
  memory().end_recording();
  graph_use = {};
}

ReplayingMemory::ReplayingMemory(const GraphPool& pool) {
  graph_use.pool = pool.number();
}

ReplayingMemory::~ReplayingMemory() {
  graph_use = {};
}

void start_memory() {
  regions();
  c10::SetAllocator(c10::kCUDA, &memory());
  void* frames[4];
  backtrace(frames, 4);  // loads what it needs now, not in a signal handler
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace vmla::standin
