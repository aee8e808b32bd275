#pragma once

#include <c10/core/Allocator.h>

#include <cstddef>
#include <string>

namespace vmla::standin {

/// Page-locked memory of the host. A block that is freed is kept for the next, as LibTorch does:
/// page-locking waits for the device.
c10::Allocator* pinned_allocator();
bool is_pinned(const void* address);

/// Memory that somebody else took, locked and unlocked. A second lock of the same pages is refused,
/// and so is locking past STANDIN_LOCKABLE bytes, if that is set.
std::string lock_pages(void* begin, size_t bytes);
void unlock_pages(void* begin);

}  // namespace vmla::standin
