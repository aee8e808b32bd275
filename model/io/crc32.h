#pragma once

#include <cstddef>
#include <cstdint>

namespace vmla::io {

/// CRC-32 as zip files have it (polynomial 0xEDB88320), of bytes that may come in pieces: `crc` is
/// that of the bytes before.
uint32_t crc32(const void* bytes, size_t count, uint32_t crc = 0);

}  // namespace vmla::io
