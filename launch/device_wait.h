#pragma once

#include <c10/core/Device.h>

namespace vmla::launch {

/// Waits until an accelerator has finished what it was given; nothing on a CPU.
void wait_for(c10::Device device);

}  // namespace vmla::launch
