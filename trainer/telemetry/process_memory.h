#pragma once

#include <cstdint>

namespace vmla::trainer {

/// The most memory this process has had resident so far, in bytes.
int64_t peak_memory_bytes();

}  // namespace vmla::trainer
