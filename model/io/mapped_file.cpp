#include "model/io/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/io/error.h"
#include "model/io/user_file.h"

namespace vmla::io {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int fd = open_user_file(path);
  struct stat info = {};
  if (fstat(fd, &info) != 0) {
    const int problem = errno;
    close(fd);
    fail_user("cannot read {}: {}", path.string(), std::strerror(problem));
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* start = nullptr;
  int problem = 0;
  if (size > 0) {
    start = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    problem = errno;
  }
  close(fd);
  if (start == MAP_FAILED) fail_run("cannot map {}: {}", path.string(), std::strerror(problem));
  start_ = start;
  size_ = size;
}

MappedFile::~MappedFile() {
  if (size_ > 0) munmap(start_, size_);
}

}  // namespace vmla::io
