#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "model/io/file_writer.h"

namespace vmla::io {

/// From which numbers on a zip file has 64-bit fields: what no longer fits into the narrow ones. A
/// test sets less, so that small files have them.
struct ZipLimits {
  uint64_t bytes = 0xFFFFFFFF;  // sizes and offsets
  uint64_t entries = 0xFFFF;
};

/// Writes a zip file from start to end, every entry stored as it is (no compression), with 64-bit
/// sizes where they are needed. The bytes of an entry begin at a multiple of `alignment`, so that a
/// reader can map them: padding stands in the entry's extra field, as in files of torch.save.
class ZipWriter {
 public:
  ZipWriter(const std::filesystem::path& path, uint64_t alignment, const ZipLimits& limits = {});

  /// Adds an entry; returns the offset of its bytes from the start of the file.
  uint64_t add(const std::string& name, const void* bytes, uint64_t count);
  uint64_t add(const std::string& name, std::string_view bytes) {
    return add(name, bytes.data(), bytes.size());
  }
  /// Writes the directory of all entries and closes the file.
  void close();

  uint64_t bytes() const { return file_.bytes(); }
  /// SHA-256 of the file. May be called once, after close().
  std::string sha256() { return file_.sha256(); }

 private:
  struct Entry {
    std::string name;
    uint64_t header;  // offset of the entry's local header
    uint64_t bytes;
    uint32_t crc;
  };
  void put(const std::string& bytes) { file_.write(bytes.data(), bytes.size()); }
  std::string directory_entry(const Entry& entry) const;

  FileWriter file_;
  uint64_t alignment_;
  ZipLimits limits_;
  std::vector<Entry> entries_;
};

}  // namespace vmla::io
