#pragma once

#include <c10/core/Allocator.h>

namespace vmla::standin {

/// Page-locked memory of the host. A block that is freed is kept for the next, as LibTorch does:
/// page-locking waits for the device.
c10::Allocator* pinned_allocator();
bool is_pinned(const void* address);

}  // namespace vmla::standin
