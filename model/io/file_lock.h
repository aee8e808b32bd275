#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace vmla::io {

/// A lock between processes of one machine: the file `path`, locked (flock) for the life of the
/// object. The lock ends with the process, however that ends. The destructor removes the file.
class FileLock {
 public:
  /// Waits until no other process holds the lock. Creates the file and its parent folders;
  /// UserError if that fails, or if something else stands there: a link, or a file that is no lock
  /// file. It is left as it is.
  static std::unique_ptr<FileLock> wait(const std::filesystem::path& path);
  /// Null if another process holds the lock.
  static std::unique_ptr<FileLock> try_now(const std::filesystem::path& path);
  /// Who holds the lock, for messages: "process 123 on HOST", or "another process" if the file does
  /// not say.
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
