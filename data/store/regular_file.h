#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace vmla::data {

/// A regular file, open for reading: never a pipe or a device, which may have no end. It is opened
/// once, so that all who look at it see the same file whatever happens to its name.
class RegularFile {
 public:
  /// UserError "path: why" if it cannot be opened or is something else.
  explicit RegularFile(std::filesystem::path path);
  /// Takes over the open descriptor `fd`; `path` is its name in messages.
  RegularFile(int fd, std::filesystem::path path);
  ~RegularFile();
  RegularFile(RegularFile&& other) noexcept;
  RegularFile& operator=(RegularFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_; }
  /// Its size when it was opened.
  uint64_t bytes() const { return bytes_; }
  /// When it was last changed, its attributes included: nanoseconds of the system's clock. Writing
  /// sets it, and no program can give it another time. Never 0.
  int64_t changed_at() const;
  /// Reads `count` bytes from `offset` on, by any number of threads at once; false if the file ends
  /// before them. RunError if the disk fails.
  bool read(uint64_t offset, void* into, size_t count) const;

 private:
  void take_size();

  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace vmla::data
