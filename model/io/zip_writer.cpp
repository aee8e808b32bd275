#include "model/io/zip_writer.h"

#include "model/io/crc32.h"

namespace vmla::io {
namespace {

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

/// The 32 bits for a number that stands in a 64-bit field from `limit` on.
std::string narrow(uint64_t value, uint64_t limit) {
  return bytes_of(value >= limit ? kAllOnes32 : value, 4);
}

/// What local header and directory say alike: flags, method, time, CRC, sizes, length of the name.
std::string shared_fields(uint32_t crc, uint64_t bytes, uint64_t limit, size_t name_bytes) {
  const std::string size = narrow(bytes, limit);
  return bytes_of(kVersion, 2) + bytes_of(kUtf8Names, 2) + bytes_of(0, 2) + bytes_of(0, 2) +
         bytes_of(kDay, 2) + bytes_of(crc, 4) + size + size + bytes_of(name_bytes, 2);
}

}  // namespace

ZipWriter::ZipWriter(const std::filesystem::path& path, uint64_t alignment, const ZipLimits& limits)
    : file_(path), alignment_(alignment), limits_(limits) {}

uint64_t ZipWriter::add(const std::string& name, const void* bytes, uint64_t count) {
  const Entry entry{name, file_.bytes(), count, crc32(bytes, count)};
  std::string extra;
  if (count >= limits_.bytes) {
    extra = bytes_of(kZip64Field, 2) + bytes_of(16, 2) + bytes_of(count, 8) + bytes_of(count, 8);
  }
  constexpr uint64_t kHeader = 30, kFieldHead = 4;
  const uint64_t start = entry.header + kHeader + name.size() + extra.size() + kFieldHead;
  const uint64_t padding = (alignment_ - start % alignment_) % alignment_;
  extra += bytes_of(kPaddingField, 2) + bytes_of(padding, 2) + std::string(padding, 'Z');
  put(bytes_of(0x04034B50, 4) + shared_fields(entry.crc, count, limits_.bytes, name.size()) +
      bytes_of(extra.size(), 2) + name + extra);
  const uint64_t offset = file_.bytes();
  file_.write(bytes, count);
  entries_.push_back(entry);
  return offset;
}

std::string ZipWriter::directory_entry(const Entry& entry) const {
  std::string wide;
  if (entry.bytes >= limits_.bytes) wide += bytes_of(entry.bytes, 8) + bytes_of(entry.bytes, 8);
  if (entry.header >= limits_.bytes) wide += bytes_of(entry.header, 8);
  if (!wide.empty()) wide = bytes_of(kZip64Field, 2) + bytes_of(wide.size(), 2) + wide;
  return bytes_of(0x02014B50, 4) + bytes_of(kVersion, 2) +
         shared_fields(entry.crc, entry.bytes, limits_.bytes, entry.name.size()) +
         bytes_of(wide.size(), 2) + bytes_of(0, 2) + bytes_of(0, 2) + bytes_of(0, 2) +
         bytes_of(0, 4) + narrow(entry.header, limits_.bytes) + entry.name + wide;
}

void ZipWriter::close() {
  const uint64_t start = file_.bytes();
  for (const Entry& entry : entries_) put(directory_entry(entry));
  const uint64_t end = file_.bytes(), count = entries_.size();
  if (start >= limits_.bytes || end - start >= limits_.bytes || count >= limits_.entries) {
    put(bytes_of(0x06064B50, 4) + bytes_of(44, 8) + bytes_of(kVersion, 2) + bytes_of(kVersion, 2) +
        bytes_of(0, 4) + bytes_of(0, 4) + bytes_of(count, 8) + bytes_of(count, 8) +
        bytes_of(end - start, 8) + bytes_of(start, 8));
    put(bytes_of(0x07064B50, 4) + bytes_of(0, 4) + bytes_of(end, 8) + bytes_of(1, 4));
  }
  const std::string entries = bytes_of(count >= limits_.entries ? kAllOnes16 : count, 2);
  put(bytes_of(0x06054B50, 4) + bytes_of(0, 2) + bytes_of(0, 2) + entries + entries +
      narrow(end - start, limits_.bytes) + narrow(start, limits_.bytes) + bytes_of(0, 2));
  file_.close();
}

}  // namespace vmla::io
