#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// The table of contents of a zip archive. Nothing is unpacked. Without LibTorch, so that it can be
/// fuzzed.
namespace vmla::io {

/// One file of an archive.
struct ZipEntry {
  std::string_view name;        // in the archive's bytes
  uint64_t begin = 0, end = 0;  // of its content, bytes from the start of the archive
  uint16_t method = 0;          // of compression; 0: stored as it is
  uint32_t crc = 0;             // CRC-32 of the content unpacked, as the directory has it
};

/// Whether the bytes begin as a zip archive does.
bool begins_as_zip(std::string_view file);

/// Reads the central directory of `file`, the bytes of a whole archive (zip64 or not), and the
/// header in front of each entry. Entries come in the order in which they lie in the archive.
/// UserError names `file_name`, the entry and what is wrong: a truncated archive,
/// encrypted entries, entries outside the archive or over each other, names that are there twice
/// or lead out of a folder (absolute, with "..", backslashes or zero bytes).
std::vector<ZipEntry> parse_zip(std::string_view file, const std::string& file_name);

}  // namespace vmla::io
