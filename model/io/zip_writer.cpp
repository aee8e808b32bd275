#include "model/io/zip_writer.h"

#include <algorithm>
#include <array>

namespace vmla::io {
namespace {

/// tables[k][b]: the CRC of byte b followed by k zero bytes, so that eight bytes go in one step.
using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables = {};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0U);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t b = 0; b < 256; ++b) {
      tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xFF];
    }
  }
  return tables;
}

constexpr CrcTables kCrc = make_crc_tables();

// Fields that do not hold 32 bits say "all ones", and their value stands in the zip64 extra field.
constexpr uint64_t kAllOnes32 = 0xFFFFFFFF;
constexpr uint64_t kAllOnes16 = 0xFFFF;
constexpr uint16_t kVersion = 45;       // the first with 64-bit sizes
constexpr uint16_t kUtf8Names = 0x800;  // flag: names are UTF-8
constexpr uint16_t kDay = 0x21;         // 1 January 1980: files of equal content are equal
constexpr uint16_t kZip64Field = 0x0001;
constexpr uint16_t kPaddingField = 0x4246;  // "FB", which torch.save pads with

/// The `count` low bytes of `value`, little-endian.
std::string bytes_of(uint64_t value, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(value >> 8 * i & 0xFF);
  return out;
}

uint64_t at_most_32_bits(uint64_t value) {
  return std::min(value, kAllOnes32);
}

/// What local header and directory say alike: flags, method, time, CRC, sizes, length of the name.
std::string shared_fields(uint32_t crc, uint64_t bytes, size_t name_bytes) {
  const std::string size = bytes_of(at_most_32_bits(bytes), 4);
  return bytes_of(kVersion, 2) + bytes_of(kUtf8Names, 2) + bytes_of(0, 2) + bytes_of(0, 2) +
         bytes_of(kDay, 2) + bytes_of(crc, 4) + size + size + bytes_of(name_bytes, 2);
}

}  // namespace

uint32_t crc32(const void* bytes, size_t count, uint32_t crc) {
  const auto* p = static_cast<const unsigned char*>(bytes);
  crc = ~crc;
  for (; count >= 8; count -= 8, p += 8) {
    const uint32_t low = crc ^ (p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24);
    crc = kCrc[7][low & 0xFF] ^ kCrc[6][low >> 8 & 0xFF] ^ kCrc[5][low >> 16 & 0xFF] ^
          kCrc[4][low >> 24] ^ kCrc[3][p[4]] ^ kCrc[2][p[5]] ^ kCrc[1][p[6]] ^ kCrc[0][p[7]];
  }
  for (; count > 0; --count, ++p) crc = crc >> 8 ^ kCrc[0][(crc ^ *p) & 0xFF];
  return ~crc;
}

ZipWriter::ZipWriter(const std::filesystem::path& path, uint64_t alignment)
    : file_(path), alignment_(alignment) {}

uint64_t ZipWriter::add(const std::string& name, const void* bytes, uint64_t count) {
  const Entry entry{name, file_.bytes(), count, crc32(bytes, count)};
  std::string extra;
  if (count >= kAllOnes32) {
    extra = bytes_of(kZip64Field, 2) + bytes_of(16, 2) + bytes_of(count, 8) + bytes_of(count, 8);
  }
  constexpr uint64_t kHeader = 30, kFieldHead = 4;
  const uint64_t start = entry.header + kHeader + name.size() + extra.size() + kFieldHead;
  const uint64_t padding = (alignment_ - start % alignment_) % alignment_;
  extra += bytes_of(kPaddingField, 2) + bytes_of(padding, 2) + std::string(padding, 'Z');
  put(bytes_of(0x04034B50, 4) + shared_fields(entry.crc, count, name.size()) +
      bytes_of(extra.size(), 2) + name + extra);
  const uint64_t offset = file_.bytes();
  file_.write(bytes, count);
  entries_.push_back(entry);
  return offset;
}

std::string ZipWriter::directory_entry(const Entry& entry) const {
  std::string wide;
  if (entry.bytes >= kAllOnes32) wide += bytes_of(entry.bytes, 8) + bytes_of(entry.bytes, 8);
  if (entry.header >= kAllOnes32) wide += bytes_of(entry.header, 8);
  if (!wide.empty()) wide = bytes_of(kZip64Field, 2) + bytes_of(wide.size(), 2) + wide;
  return bytes_of(0x02014B50, 4) + bytes_of(kVersion, 2) +
         shared_fields(entry.crc, entry.bytes, entry.name.size()) + bytes_of(wide.size(), 2) +
         bytes_of(0, 2) + bytes_of(0, 2) + bytes_of(0, 2) + bytes_of(0, 4) +
         bytes_of(at_most_32_bits(entry.header), 4) + entry.name + wide;
}

void ZipWriter::close() {
  const uint64_t start = file_.bytes();
  for (const Entry& entry : entries_) put(directory_entry(entry));
  const uint64_t end = file_.bytes(), count = entries_.size();
  if (start >= kAllOnes32 || count >= kAllOnes16) {
    put(bytes_of(0x06064B50, 4) + bytes_of(44, 8) + bytes_of(kVersion, 2) + bytes_of(kVersion, 2) +
        bytes_of(0, 4) + bytes_of(0, 4) + bytes_of(count, 8) + bytes_of(count, 8) +
        bytes_of(end - start, 8) + bytes_of(start, 8));
    put(bytes_of(0x07064B50, 4) + bytes_of(0, 4) + bytes_of(end, 8) + bytes_of(1, 4));
  }
  const std::string entries = bytes_of(std::min(count, kAllOnes16), 2);
  put(bytes_of(0x06054B50, 4) + bytes_of(0, 2) + bytes_of(0, 2) + entries + entries +
      bytes_of(at_most_32_bits(end - start), 4) + bytes_of(at_most_32_bits(start), 4) +
      bytes_of(0, 2));
  file_.close();
}

}  // namespace vmla::io
