#include "model/io/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "model/io/atomic_file.h"
#include "model/io/fault_hook.h"

namespace vmla::io {

namespace {

/// Opens a file that nothing else was at, which O_EXCL promises of links too. A file, link or pipe
/// that stands there is replaced, not written into: it may be another name of a file elsewhere. A
/// device stays, and is written to.
int open_new(const std::filesystem::path& path) {
  constexpr int kNew = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  const int fd = ::open(path.c_str(), kNew, 0666);
  if (fd >= 0 || errno != EEXIST) return fd;
  struct stat there{};
  if (::lstat(path.c_str(), &there) != 0) return -1;
  if (S_ISCHR(there.st_mode) || S_ISBLK(there.st_mode))
    return ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  return ::unlink(path.c_str()) == 0 ? ::open(path.c_str(), kNew, 0666) : -1;
}

}  // namespace

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path), fd_(open_new(path)) {
  if (fd_ < 0) fail_io("write", path_, errno);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void FileWriter::write(const void* bytes, size_t count) {
  if (const int fault = injected_fault("write", path_)) {
    if (fault != kShortWrite) fail_io("write", path_, fault);
    if (::write(fd_, bytes, count / 2) < 0) fail_io("write", path_, errno);
    fail_io("write", path_, ENOSPC);
  }
  hash_.update(bytes, count);
  bytes_ += count;
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    // One write() moves at most 2 GiB less a page.
    const ssize_t written = ::write(fd_, next, std::min<size_t>(count, size_t{1} << 30));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_io("write", path_, errno);
    }
    next += written;
    count -= static_cast<size_t>(written);
  }
}

void FileWriter::close() {
  const int fd = fd_;
  fd_ = -1;
  // A network file system reports a full disk as late as here.
  if (::close(fd) != 0) fail_io("write", path_, errno);
}

}  // namespace vmla::io
