#include "data/store/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "model/io/error.h"

namespace vmla::data {

RegularFile::RegularFile(std::filesystem::path path) : path_(std::move(path)) {
  // Without O_NONBLOCK a pipe makes open() wait for somebody who writes into it.
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd_ < 0) {
    fail_user("{}: {}", path_.string(), errno == ENOENT ? "no such file" : std::strerror(errno));
  }
  take_size();
}

RegularFile::RegularFile(int fd, std::filesystem::path path) : path_(std::move(path)), fd_(fd) {
  take_size();
}

RegularFile::RegularFile(RegularFile&& other) noexcept
    : path_(other.path_), fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}

RegularFile::~RegularFile() {
  if (fd_ >= 0) close(fd_);
}

void RegularFile::take_size() {
  struct stat status = {};
  const bool known = fstat(fd_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    close(std::exchange(fd_, -1));
    fail_user("{}: must be a file, is {}",
              path_.string(),
              S_ISDIR(status.st_mode) ? "a folder" : "a pipe or device");
  }
  bytes_ = static_cast<uint64_t>(status.st_size);
}

int64_t RegularFile::changed_at() const {
  struct stat status = {};
  if (fstat(fd_, &status) != 0)
    fail_run("cannot read {}: {}", path_.string(), std::strerror(errno));
  constexpr int64_t kNanoseconds = 1'000'000'000;
  return std::max<int64_t>(1, status.st_ctim.tv_sec * kNanoseconds + status.st_ctim.tv_nsec);
}

bool RegularFile::read(uint64_t offset, void* into, size_t count) const {
  auto* at = static_cast<char*>(into);
  while (count > 0) {
    const ssize_t got = pread(fd_, at, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_run("cannot read {}: {}", path_.string(), std::strerror(errno));
    if (got == 0) return false;
    at += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace vmla::data
