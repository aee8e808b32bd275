#include "model/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/regular_file.h"

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

// What every lock file of this program begins with; it may also be empty.
constexpr std::string_view kHolder = "process ";
constexpr size_t kLongestHolder = 300;

/// Opens the lock file. Close-on-exec: a process that this one starts must not hold its lock.
int open_lock(const fs::path& path) {
  std::error_code problem;
  if (!path.parent_path().empty()) fs::create_directories(path.parent_path(), problem);
  const int fd = open_regular_file(path, O_RDWR | O_CREAT);
  if (fd >= 0) return fd;
  const int reason = errno;
  const bool forbidden = reason == EACCES || reason == EROFS;
  fail_user("{}: cannot open the lock file: {}{}",
            path.string(),
            open_problem(reason),
            forbidden ? "; choose a folder you may write to" : "");
}

/// Fails on a file that is no lock file of this program, which must stay as it is.
void expect_lock_file(int fd, const fs::path& path) {
  std::string text(kHolder.size(), '\0');
  const ssize_t size = pread(fd, text.data(), text.size(), 0);
  if (size == 0 || (size > 0 && text == kHolder)) return;
  close(fd);
  fail_user("{}: is no lock file of this program; move it, or choose another folder",
            path.string());
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/// Whether `path` still leads to the open file.
bool is_in_place(int fd, const fs::path& path) {
  struct stat opened{}, there{};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &there) == 0 && is_same_file(opened, there);
}

}  // namespace

std::unique_ptr<FileLock> FileLock::acquire(const fs::path& path, bool may_wait) {
  for (;;) {
    const int fd = open_lock(path);
    expect_lock_file(fd, path);
    if (flock(fd, LOCK_EX | (may_wait ? 0 : LOCK_NB)) != 0) {
      const int problem = errno;
      close(fd);
      if (problem == EINTR) continue;
      if (problem == EWOULDBLOCK) return nullptr;
      fail_run("cannot lock {}: {}", path.string(), std::strerror(problem));
    }
    // The previous holder may have removed the file while we waited for the lock. Then ours is on a
    // file that nobody else can open, and guards nothing: try again with the new file.
    if (is_in_place(fd, path)) {
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
  const std::string text = head_of_file(path, kLongestHolder);
  if (!text.starts_with(kHolder)) return "another process";
  return printable(text.substr(0, text.find('\n')));
}

FileLock::~FileLock() {
  // Somebody may have removed the file, and another process have made and locked a new one.
  if (is_in_place(fd_, path_)) unlink(path_.c_str());
  close(fd_);
}

}  // namespace vmla::io
