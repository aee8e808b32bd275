#include "model/io/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vmla::io {
namespace {

/// 0 if the open file is what open_regular_file promises, else the errno that says why not.
int doubt(int fd) {
  struct stat found{};
  if (fstat(fd, &found) != 0) return errno;
  if (!S_ISREG(found.st_mode)) return ENXIO;
  // A second name leads to a file that somebody else relies on.
  return found.st_nlink > 1 ? EMLINK : 0;
}

}  // namespace

int open_regular_file(const std::filesystem::path& path, int flags, unsigned mode) {
  // Truncated only once it is known to be no file of somebody else's. O_NONBLOCK: opening a pipe
  // returns at once; it means nothing to a regular file.
  const int careful = (flags & ~O_TRUNC) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  const int fd = open(path.c_str(), careful, mode);
  if (fd < 0) return -1;
  int problem = doubt(fd);
  if (problem == 0 && (flags & O_TRUNC) != 0 && ftruncate(fd, 0) != 0) problem = errno;
  if (problem == 0) return fd;
  close(fd);
  errno = problem;
  return -1;
}

std::string open_problem(int error_number) {
  switch (error_number) {
    case ELOOP:
      return "a symbolic link stands there; remove it";
    case EMLINK:
      return "a file stands there that has other names too (hard links); remove it";
    case ENXIO:
      return "what stands there is no regular file; remove it";
    default:
      return std::strerror(error_number);
  }
}

std::string head_of_file(const std::filesystem::path& path, size_t most) {
  const int fd = open_regular_file(path, O_RDONLY);
  if (fd < 0) return {};
  std::string text(most, '\0');
  size_t size = 0;
  while (size < most) {
    const ssize_t count = read(fd, text.data() + size, most - size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    size += static_cast<size_t>(count);
  }
  close(fd);
  text.resize(size);
  return text;
}

}  // namespace vmla::io
