// A GPU that is not there: LibTorch's device type CUDA, played by the host. docs/operations.md "The
// stand-in accelerator" says what it can show. Work is done at once, in the order in which it is
// queued; what a GPU would do later, or out of order, is kept account of instead.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace vmla::standin {

constexpr int kMostDevices = 4;

/// GPUs that this process sees: STANDIN_DEVICES, or 1.
int device_count();

/// Fails as every call does once a kernel has faulted: after STANDIN_FAILS_AFTER calls, if that is
/// set.
void expect_alive();

/// The device of this thread; as in CUDA, every thread begins on device 0.
c10::DeviceIndex& current_device();
/// The stream that this thread works in on a device; 0 is the default one.
c10::StreamId& current_stream(c10::DeviceIndex device);

enum class Access { kReads, kWrites };

/// Says that work in the current stream uses `bytes` bytes at a device's address. Fails where
/// they are not all in one block that somebody has, and where another stream uses them too and
/// neither an event nor the host keeps the two apart.
void touch(const void* address, size_t bytes, Access access);

/// Where the values of a device's address really are. Fails for an address of the host.
char* host_of(const void* address);

/// What a kernel sees of a tensor of the device: a CPU tensor over the same values. Touches them.
at::Tensor host_view(const at::Tensor& device, Access access = Access::kReads);

/// The same values of the device, which this tensor does not keep: what a graph remembers. One of
/// the host is copied.
at::Tensor unowned(const at::Tensor& tensor);

/// Ends what is under way in the current stream, as an operation does for which the host waits.
void wait_for_current_stream(c10::DeviceIndex device);

/// The allocator of the device's memory.
c10::Allocator* device_allocator();

/// Registers memory, streams and hooks with LibTorch. Once, when the module is loaded.
void start_device();

}  // namespace vmla::standin
