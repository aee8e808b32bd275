#pragma once

#include <filesystem>
#include <memory>

namespace vmla::data {

/// Holds `path`, a small file, locked as long as it lives, against other processes of this machine;
/// the lock ends with the process, however it ends, and the file is removed.
class FileLock {
 public:
  /// Waits until nobody else holds it. RunError if the file cannot be made.
  static std::unique_ptr<FileLock> wait(const std::filesystem::path& path);
  /// Nothing if somebody else holds it.
  static std::unique_ptr<FileLock> try_now(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileLock(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  static std::unique_ptr<FileLock> acquire(const std::filesystem::path& path, bool may_wait);

  std::filesystem::path path_;
  int fd_;
};

}  // namespace vmla::data
