#include "model/io/user_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/io/error.h"

namespace vmla::io {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  return "no regular file";
}

}  // namespace

int open_user_file(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a pipe waits for its writer; on a regular file it has no effect.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  const int problem = errno;
  struct stat info = {};
  // What cannot be opened may still have a kind that says more (a socket: "no such device").
  const bool known = (fd >= 0 ? fstat(fd, &info) : stat(path.c_str(), &info)) == 0;
  if (known && !S_ISREG(info.st_mode)) {
    if (fd >= 0) close(fd);
    fail_user("cannot read {}: it is {}, a file is needed", path.string(), kind_of(info.st_mode));
  }
  if (fd < 0) fail_user("cannot read {}: {}", path.string(), std::strerror(problem));
  if (!known) {
    close(fd);
    fail_user("cannot read {}: its kind is not known", path.string());
  }
  return fd;
}

}  // namespace vmla::io
