#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace vmla::io {

/// Holds `path`, a small file, locked as long as it lives, against other processes of this machine;
/// the lock ends with the process, however it ends. The destructor removes the file.
class FileLock {
 public:
  /// Waits until nobody else holds it; folders on the way are made. UserError if the file cannot
  /// be.
  static std::unique_ptr<FileLock> wait(const std::filesystem::path& path);
  /// Nothing if somebody else holds it.
  static std::unique_ptr<FileLock> try_now(const std::filesystem::path& path);
  /// Who holds it, as far as the file tells: "process 123 on HOST", else "another process".
  static std::string holder(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileLock(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  static std::unique_ptr<FileLock> acquire(const std::filesystem::path& path, bool may_wait);

  std::filesystem::path path_;
  int fd_;
};

}  // namespace vmla::io
