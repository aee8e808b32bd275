#include "data/inspect/png_writer.h"

#include <ATen/ATen.h>
#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24),
          static_cast<char>(value >> 16),
          static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

/// A chunk of the file (PNG 1.2, section 3.2): length, kind, content, CRC of kind and content.
std::string png_chunk(std::string_view kind, const std::string& content) {
  const std::string body = std::string(kind) + content;
  const auto crc = static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
  return big_endian(static_cast<uint32_t>(content.size())) + body + big_endian(crc);
}

}  // namespace

void write_png(const std::filesystem::path& path, const at::Tensor& rgb_HW3) {
  TORCH_CHECK(rgb_HW3.dim() == 3 && rgb_HW3.size(2) == 3 && rgb_HW3.scalar_type() == at::kByte,
              "a picture must be [H, W, 3] bytes, got ",
              rgb_HW3.sizes());
  const int64_t height = rgb_HW3.size(0), width = rgb_HW3.size(1);
  const at::Tensor pixels = rgb_HW3.contiguous();
  const auto* row = static_cast<const char*>(pixels.const_data_ptr());
  const auto row_bytes = static_cast<size_t>(width * 3);
  std::string rows;
  for (int64_t y = 0; y < height; ++y, row += row_bytes) {
    rows.push_back('\0');  // no filter
    rows.append(row, row_bytes);
  }
  uLongf bytes = compressBound(rows.size());
  std::string packed(bytes, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(packed.data()),
                               &bytes,
                               reinterpret_cast<const Bytef*>(rows.data()),
                               rows.size(),
                               Z_DEFAULT_COMPRESSION);
  if (status != Z_OK) fail_run("cannot compress {}: zlib status {}", path.string(), status);
  packed.resize(bytes);
  // 8 bits, RGB, the only compression and filter methods, not interlaced.
  const std::string header = big_endian(static_cast<uint32_t>(width)) +
                             big_endian(static_cast<uint32_t>(height)) +
                             std::string("\x08\x02\x00\x00\x00", 5);
  io::write_file_atomically(path,
                            "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) +
                                png_chunk("IDAT", packed) + png_chunk("IEND", ""));
}

}  // namespace vmla::data
