// Devices, streams and events of the stand-in, and what LibTorch asks of CUDA beside them.
#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>

#include "tests/standin/device.h"
#include "tests/standin/device_memory.h"
#include "tests/standin/graph.h"
#include "tests/standin/pinned_memory.h"
#include "tests/standin/stream_order.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

std::atomic<bool> contexts[kMostDevices] = {};

void check_device(c10::DeviceIndex device) {
  TORCH_CHECK(device >= 0 && device < device_count(),
              "CUDA error: invalid device ordinal (stand-in): ",
              static_cast<int>(device));
}

/// What a stream has done when an event is recorded, and when that is: at once, for here the host
/// plays the device.
struct Recorded {
  Times times;
  std::chrono::steady_clock::time_point at;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {c10::kCUDA, current_device()}; }
  void setDevice(c10::Device device) const override {
    if (!device.has_index()) return;
    check_device(device.index());
    current_device() = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current_device() = device.index();
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(device_count());
  }

  static c10::Stream stream(c10::Device device, c10::StreamId id) {
    return c10::Stream(c10::Stream::UNSAFE, whole(device), id);
  }
  static c10::Device whole(c10::Device device) {
    return device.has_index() ? device : c10::Device(c10::kCUDA, current_device());
  }
  static int index_of(const c10::Stream& stream) {
    return stream_index(stream.device_index(), stream.id());
  }
  c10::Stream getStream(c10::Device device) const override {
    return stream(device, current_stream(whole(device).index()));
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream(device, 0); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    static std::atomic<c10::StreamId> next{0};
    return stream(device, 1 + next++ % 32);
  }
  c10::Stream getNewStream(c10::Device device, int) const override {
    return getStreamFromGlobalPool(device, false);
  }
  c10::Stream exchangeStream(c10::Stream wanted) const override {
    const c10::Stream before = getStream(wanted.device());
    current_stream(wanted.device_index()) = wanted.id();
    return before;
  }

  void record(void** event,
              const c10::Stream& of,
              const c10::DeviceIndex,
              const c10::EventFlag) const override {
    expect_alive();
    if (*event == nullptr) *event = new Recorded;
    *static_cast<Recorded*>(*event) = {times_of(index_of(of)), std::chrono::steady_clock::now()};
  }
  void block(void* event, const c10::Stream& waiting) const override {
    expect_alive();
    if (event != nullptr) stream_waits(index_of(waiting), static_cast<Recorded*>(event)->times);
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Recorded*>(event);
  }
  // Nothing gets done by itself here: who asks for the second time, as in a loop, hears that it is.
  bool queryEvent(void* event) const override {
    expect_alive();
    refuse_while_recording("a look at an event");
    if (event == nullptr || is_finished(static_cast<Recorded*>(event)->times)) return true;
    host_waited(static_cast<Recorded*>(event)->times);
    return false;
  }
  // Whoever asks whether a stream is done hears that it is, and may then rely on it.
  bool queryStream(const c10::Stream& asked) const override {
    expect_alive();
    refuse_while_recording("a look at a stream");
    host_waited_for(index_of(asked));
    return true;
  }
  double elapsedTime(void* first, void* second, const c10::DeviceIndex) const override {
    const auto between = static_cast<Recorded*>(second)->at - static_cast<Recorded*>(first)->at;
    return std::chrono::duration<double, std::milli>(between).count();
  }
  void synchronizeEvent(void* event) const override {
    expect_alive();
    refuse_while_recording("a wait for an event");
    note("sync", "event", 0);
    if (event != nullptr) host_waited(static_cast<Recorded*>(event)->times);
  }
  void synchronizeStream(const c10::Stream& waited) const override {
    expect_alive();
    refuse_while_recording("a wait for a stream");
    note("sync", "stream", 0);
    host_waited_for(index_of(waited));
  }
  void synchronizeDevice(const c10::DeviceIndex device) const override {
    expect_alive();
    refuse_while_recording("a wait for a device");
    note("sync", "device", 0);
    for (int id = 0; id < kStreamsOfDevice; ++id) host_waited_for(stream_index(device, id));
  }
};

}  // namespace

int device_count() {
  static const int count = [] {
    const char* const text = std::getenv("STANDIN_DEVICES");
    return text == nullptr ? 1 : std::clamp(std::atoi(text), 1, kMostDevices);
  }();
  return count;
}

void expect_alive() {
  static const int64_t last = [] {
    const char* const text = std::getenv("STANDIN_FAILS_AFTER");
    return text == nullptr ? std::numeric_limits<int64_t>::max() : std::atoll(text);
  }();
  static std::atomic<int64_t> calls{0};
  TORCH_CHECK(calls++ < last,
              "CUDA error: an illegal memory access was encountered (stand-in: "
              "STANDIN_FAILS_AFTER)");
}

c10::DeviceIndex& current_device() {
  thread_local c10::DeviceIndex device = 0;
  return device;
}

c10::StreamId& current_stream(c10::DeviceIndex device) {
  thread_local c10::StreamId streams[kMostDevices] = {};
  check_device(device);
  return streams[device];
}

void wait_for_current_stream(c10::DeviceIndex device) {
  host_waited_for(current_stream_index(device));
}

void use_context(c10::DeviceIndex device) {
  if (!contexts[device].exchange(true)) note("context", std::to_string(device).c_str(), 0);
}

bool has_context(c10::DeviceIndex device) {
  return contexts[device];
}

void start_device() {
  static auto* const guard = new Guard;
  c10::impl::registerDeviceGuard(c10::kCUDA, guard);
  start_memory();
  start_trace();
}

}  // namespace vmla::standin

namespace at {

// LibTorch finds the hooks by this name in this namespace.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasPrimaryContext(DeviceIndex device) const override {
    return vmla::standin::has_context(device);
  }
  DeviceIndex current_device() const override { return vmla::standin::current_device(); }
  DeviceIndex deviceCount() const override {
    return static_cast<DeviceIndex>(vmla::standin::device_count());
  }
  int getNumGPUs() const override { return vmla::standin::device_count(); }
  DeviceIndex getCurrentDevice() const override { return vmla::standin::current_device(); }
  void setCurrentDevice(DeviceIndex device) const override {
    vmla::standin::current_device() = device;
  }
  DeviceIndex exchangeDevice(DeviceIndex device) const override {
    return std::exchange(vmla::standin::current_device(), device);
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex device) const override {
    return exchangeDevice(device);
  }
  bool isPinnedPtr(const void* data) const override { return vmla::standin::is_pinned(data); }
  Allocator* getPinnedMemoryAllocator() const override { return vmla::standin::pinned_allocator(); }
  Allocator* getCUDADeviceAllocator() const override { return vmla::standin::device_allocator(); }
  Device getDeviceFromPtr(void* data) const override {
    return {kCUDA, vmla::standin::device_of_address(data)};
  }
};
REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at
