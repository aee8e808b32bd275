#include "model/io/zip_file.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::io {
namespace {

// Signatures and sizes of the parts of an archive, by PKWARE's APPNOTE 6.3.
constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr uint64_t kLocalHeaderBytes = 30, kDirectoryEntryBytes = 46;
constexpr uint64_t kEndBytes = 22, kEnd64Bytes = 56, kEnd64LocatorBytes = 20;
constexpr uint16_t kEncrypted = 1;

/// The little-endian number at `offset`; the caller has checked that it lies in `bytes`.
template <class T>
T number(std::string_view bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

struct Directory {
  uint64_t entries = 0, begin = 0, end = 0;
};

/// The record at the archive's end, behind which only its comment may follow.
uint64_t find_end(std::string_view file, const std::string& file_name) {
  if (file.size() >= kEndBytes) {
    const uint64_t last = file.size() - kEndBytes;
    const uint64_t first = last > UINT16_MAX ? last - UINT16_MAX : 0;
    for (uint64_t at = last + 1; at-- > first;) {
      if (number<uint32_t>(file, at) == kEnd && number<uint16_t>(file, at + 20) == last - at)
        return at;
    }
  }
  fail_user("{}: truncated: the zip archive's directory, which stands at its end, is not there",
            file_name);
}

Directory find_directory(std::string_view file, const std::string& file_name) {
  uint64_t end = find_end(file, file_name);
  Directory directory;
  directory.entries = number<uint16_t>(file, end + 10);
  uint64_t bytes = number<uint32_t>(file, end + 12);
  directory.begin = number<uint32_t>(file, end + 16);
  uint64_t disks = number<uint16_t>(file, end + 4) | number<uint16_t>(file, end + 6);
  if (end >= kEnd64LocatorBytes + kEnd64Bytes &&
      number<uint32_t>(file, end - kEnd64LocatorBytes) == kEnd64Locator) {
    const uint64_t locator = end - kEnd64LocatorBytes;
    const auto end64 = number<uint64_t>(file, locator + 8);
    if (end64 > locator - kEnd64Bytes || number<uint32_t>(file, end64) != kEnd64) {
      fail_user("{}: damaged zip archive: its zip64 end record is not where it should be",
                file_name);
    }
    disks = number<uint32_t>(file, end64 + 16) | number<uint32_t>(file, end64 + 20);
    directory.entries = number<uint64_t>(file, end64 + 32);
    bytes = number<uint64_t>(file, end64 + 40);
    directory.begin = number<uint64_t>(file, end64 + 48);
    end = end64;
  }
  if (disks != 0) fail_user("{}: a part of a zip archive of several files", file_name);
  if (directory.begin > end || bytes > end - directory.begin ||
      directory.entries > bytes / kDirectoryEntryBytes) {
    fail_user("{}: damaged zip archive: a directory of {} entries in {} bytes at {} does not fit",
              file_name,
              directory.entries,
              bytes,
              directory.begin);
  }
  directory.end = directory.begin + bytes;
  return directory;
}

/// What makes a name one that no honest archive has; none for a good one.
std::optional<std::string_view> doubt_about(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.front() == '/') return "is absolute";
  if (name.find('\\') != std::string_view::npos) return "has a backslash";
  if (name.find('\0') != std::string_view::npos) return "has a zero byte";
  for (std::string_view rest = name; !rest.empty();) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    if (rest.substr(0, slash) == "..") return "leads out of its folder";
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  return std::nullopt;
}

/// One entry, with the place where its local header begins.
struct PlacedEntry {
  ZipEntry entry;
  uint64_t header = 0;
};

class DirectoryReader {
 public:
  DirectoryReader(std::string_view file, const std::string& file_name, const Directory& directory)
      : file_(file), file_name_(file_name), directory_(directory), at_(directory.begin) {}

  /// The next entry of the directory, after checking it against its local header.
  PlacedEntry next() {
    if (directory_.end - at_ < kDirectoryEntryBytes ||
        number<uint32_t>(file_, at_) != kDirectoryEntry) {
      fail_user("{}: damaged zip archive: no directory entry at byte {}", file_name_, at_);
    }
    const uint64_t name_bytes = number<uint16_t>(file_, at_ + 28);
    const uint64_t extra_bytes = number<uint16_t>(file_, at_ + 30);
    const uint64_t all =
        kDirectoryEntryBytes + name_bytes + extra_bytes + number<uint16_t>(file_, at_ + 32);
    if (all > directory_.end - at_) {
      fail_user("{}: damaged zip archive: the directory entry at byte {} is longer than it",
                file_name_,
                at_);
    }
    PlacedEntry placed;
    placed.entry.name = file_.substr(at_ + kDirectoryEntryBytes, name_bytes);
    if (const auto doubt = doubt_about(placed.entry.name)) refuse(placed.entry, *doubt);
    if ((number<uint16_t>(file_, at_ + 8) & kEncrypted) != 0) refuse(placed.entry, "is encrypted");
    placed.entry.method = number<uint16_t>(file_, at_ + 10);
    placed.entry.crc = number<uint32_t>(file_, at_ + 16);
    const std::string_view extra =
        file_.substr(at_ + kDirectoryEntryBytes + name_bytes, extra_bytes);
    const uint64_t bytes = sizes(placed, extra);
    find_content(placed, bytes);
    at_ += all;
    return placed;
  }

 private:
  [[noreturn]] void refuse(const ZipEntry& entry, std::string_view what) const {
    fail_user("{}: the archive's entry {} {}", file_name_, quoted_name(entry.name), what);
  }

  /// Bytes of the content as it lies there; sets the place of the local header. Numbers above 32
  /// bits stand in the extra field with the id 1, in this order.
  uint64_t sizes(PlacedEntry& placed, std::string_view extra) const {
    uint64_t bytes = number<uint32_t>(file_, at_ + 24), packed = number<uint32_t>(file_, at_ + 20);
    placed.header = number<uint32_t>(file_, at_ + 42);
    while (extra.size() >= 4) {
      const auto id = number<uint16_t>(extra, 0);
      const uint64_t length = number<uint16_t>(extra, 2);
      extra.remove_prefix(4);
      if (length > extra.size()) refuse(placed.entry, "has a damaged extra field");
      if (id == 1) {
        uint64_t from = 0;
        for (uint64_t* const value : {&bytes, &packed, &placed.header}) {
          if (*value != UINT32_MAX) continue;
          if (length - from < 8) refuse(placed.entry, "has a zip64 field that is too short");
          *value = number<uint64_t>(extra, from);
          from += 8;
        }
        break;
      }
      extra.remove_prefix(length);
    }
    if (placed.entry.method == 0 && bytes != packed) {
      refuse(placed.entry, formatted("is stored, but has {} bytes out of {}", packed, bytes));
    }
    return packed;
  }

  /// The content stands behind the local header, whose name and extra field may have any length.
  void find_content(PlacedEntry& placed, uint64_t bytes) const {
    const uint64_t most = directory_.begin;
    if (placed.header > most || most - placed.header < kLocalHeaderBytes ||
        number<uint32_t>(file_, placed.header) != kLocalHeader) {
      refuse(placed.entry, formatted("has no header at byte {}", placed.header));
    }
    const uint64_t name_bytes = number<uint16_t>(file_, placed.header + 26);
    const uint64_t before =
        kLocalHeaderBytes + name_bytes + number<uint16_t>(file_, placed.header + 28);
    if (before > most - placed.header || bytes > most - placed.header - before) {
      refuse(placed.entry,
             formatted("of {} bytes at {} does not fit before the directory at {}",
                       bytes,
                       placed.header,
                       most));
    }
    const std::string_view name = file_.substr(placed.header + kLocalHeaderBytes, name_bytes);
    if (name != placed.entry.name) {
      refuse(placed.entry, formatted("is called {} in its own header", quoted_name(name)));
    }
    placed.entry.begin = placed.header + before;
    placed.entry.end = placed.entry.begin + bytes;
  }

  std::string_view file_;
  const std::string& file_name_;
  Directory directory_;
  uint64_t at_;
};

}  // namespace

bool begins_as_zip(std::string_view file) {
  return file.size() >= 4 &&
         (number<uint32_t>(file, 0) == kLocalHeader || number<uint32_t>(file, 0) == kEnd);
}

std::vector<ZipEntry> parse_zip(std::string_view file, const std::string& file_name) {
  const Directory directory = find_directory(file, file_name);
  DirectoryReader reader(file, file_name, directory);
  std::vector<PlacedEntry> placed;
  placed.reserve(directory.entries);
  for (uint64_t i = 0; i < directory.entries; ++i) placed.push_back(reader.next());

  std::ranges::sort(placed, {}, [](const PlacedEntry& p) { return p.entry.name; });
  for (size_t i = 1; i < placed.size(); ++i) {
    if (placed[i].entry.name == placed[i - 1].entry.name) {
      fail_user("{}: the archive's entry {} is there twice",
                file_name,
                quoted_name(placed[i].entry.name));
    }
  }
  std::ranges::sort(placed, {}, &PlacedEntry::header);
  std::vector<ZipEntry> entries;
  entries.reserve(placed.size());
  for (const PlacedEntry& next : placed) {
    if (!entries.empty() && next.header < entries.back().end) {
      fail_user("{}: the archive's entry {} overlaps {}",
                file_name,
                quoted_name(next.entry.name),
                quoted_name(entries.back().name));
    }
    entries.push_back(next.entry);
  }
  return entries;
}

}  // namespace vmla::io
