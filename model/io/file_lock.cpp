#include "model/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "model/io/error.h"

namespace vmla::io {
namespace fs = std::filesystem;
namespace {

// Says who holds the lock, for the message of whoever finds it taken. A failure is ignored: the
// lock holds without this text, for example on a full disk.
void write_holder(int fd) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string text = formatted("process {} on {}\n", getpid(), host.data());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text.data(), text.size(), 0) < 0) return;
}

}  // namespace

std::unique_ptr<FileLock> FileLock::acquire(const fs::path& path, bool may_wait) {
  if (!path.parent_path().empty()) fs::create_directories(path.parent_path());
  for (;;) {
    // Close-on-exec: a process that this one starts must not hold its lock.
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
      fail_user("{}: cannot open the lock file: {}; choose a folder you may write to",
                path.string(),
                std::strerror(errno));
    }
    if (flock(fd, LOCK_EX | (may_wait ? 0 : LOCK_NB)) != 0) {
      const int problem = errno;
      close(fd);
      if (problem == EINTR) continue;
      if (problem == EWOULDBLOCK) return nullptr;
      fail_run("cannot lock {}: {}", path.string(), std::strerror(problem));
    }
    // The previous holder may have removed the file while we waited for the lock. Then ours is on a
    // file that nobody else can open, and guards nothing: try again with the new file.
    struct stat locked, there;
    if (fstat(fd, &locked) == 0 && stat(path.c_str(), &there) == 0 &&
        locked.st_ino == there.st_ino) {
      write_holder(fd);
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

std::string FileLock::holder(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line.empty() ? "another process" : line;
}

FileLock::~FileLock() {
  unlink(path_.c_str());
  close(fd_);
}

}  // namespace vmla::io
