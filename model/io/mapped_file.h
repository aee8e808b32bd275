#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace vmla::io {

/// A regular file, mapped into memory for the life of the object. Writing to the mapping changes a
/// private copy, never the file.
class MappedFile {
 public:
  /// UserError if `path` is missing, unreadable or no regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  char* data() const { return static_cast<char*>(start_); }
  size_t size() const { return size_; }
  std::string_view view() const { return {data(), size_}; }

 private:
  void* start_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vmla::io
