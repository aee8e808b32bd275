#pragma once

#include <c10/core/Device.h>

namespace vmla::standin {

/// Makes the addresses, the allocator and the handler that names who touched them.
void start_memory();

/// The device that an address belongs to; -1 for one of the host.
c10::DeviceIndex device_of_address(const void* address);

/// Notes that this process works on a device, which costs memory there (a context of CUDA).
void use_context(c10::DeviceIndex device);
bool has_context(c10::DeviceIndex device);

}  // namespace vmla::standin
