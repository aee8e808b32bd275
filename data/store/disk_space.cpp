#include "data/store/disk_space.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "model/io/fault_hook.h"
#include "model/io/format.h"

namespace vmla::data {

void reserve_disk_space(const std::filesystem::path& path, uint64_t bytes) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) io::fail_io("write", path, errno);
  int problem = fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  struct statvfs disk;
  if (problem == EOPNOTSUPP) {
    const bool known = fstatvfs(fd, &disk) == 0;
    problem = known && uint64_t{disk.f_bavail} * disk.f_frsize < bytes ? ENOSPC : 0;
  }
  close(fd);
  // fail_io knows the name the file is going to have.
  if (problem != 0) io::fail_io(formatted("write the {} MiB of", (bytes >> 20) + 1), path, problem);
}

void keep_disk_space(const std::filesystem::path& path, uint64_t bytes) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) io::fail_io("write", path, errno);
  const int problem =
      fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  close(fd);
  if (problem != 0 && problem != EOPNOTSUPP) io::fail_io("write", path, problem);
}

}  // namespace vmla::data
