#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/io/sha256.h"

namespace vmla::io {

/// A new file, written from start to end, with its size and SHA-256 computed on the way. What stood
/// at the path is removed first, unless it is a device. Errors are RunErrors that name the file and
/// the reason. Nothing is flushed to disk: publish_file and publish_folder do that.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* bytes, size_t count);
  /// Closes the file. Destroyed without it, the writer leaves an unfinished file, which the caller
  /// has to remove.
  void close();

  uint64_t bytes() const { return bytes_; }
  /// SHA-256 of everything written. May be called once, after close().
  std::string sha256() { return hash_.finish(); }

 private:
  std::filesystem::path path_;
  int fd_;
  uint64_t bytes_ = 0;
  Sha256 hash_;
};

}  // namespace vmla::io
