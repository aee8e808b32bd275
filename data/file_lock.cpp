#include "data/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;

std::unique_ptr<FileLock> FileLock::acquire(const fs::path& path, bool may_wait) {
  if (!path.parent_path().empty()) fs::create_directories(path.parent_path());
  for (;;) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) fail_run("cannot create ", path.string(), ": ", std::strerror(errno));
    if (flock(fd, LOCK_EX | (may_wait ? 0 : LOCK_NB)) != 0) {
      const int problem = errno;
      close(fd);
      if (problem == EINTR) continue;
      if (problem == EWOULDBLOCK) return nullptr;
      fail_run("cannot lock ", path.string(), ": ", std::strerror(problem));
    }
    // The holder before us may have removed the file while we waited for it: then this lock guards
    // nothing.
    struct stat locked, there;
    if (fstat(fd, &locked) == 0 && stat(path.c_str(), &there) == 0 &&
        locked.st_ino == there.st_ino) {
      return std::unique_ptr<FileLock>(new FileLock(path, fd));
    }
    close(fd);
  }
}

std::unique_ptr<FileLock> FileLock::wait(const fs::path& path) {
  return acquire(path, true);
}
std::unique_ptr<FileLock> FileLock::try_now(const fs::path& path) {
  return acquire(path, false);
}

FileLock::~FileLock() {
  unlink(path_.c_str());
  close(fd_);
}

}  // namespace vmla::data
