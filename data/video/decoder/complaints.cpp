#include "data/video/decoder/complaints.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace vmla::data {

Complaints::Complaints() : fd_(memfd_create("stderr", MFD_CLOEXEC)) {
  if (fd_ >= 0) dup2(fd_, STDERR_FILENO);
}

std::string Complaints::first() const {
  if (fd_ < 0) return {};
  // The position is shared with stderr: the end of what was printed.
  const off_t size = lseek(fd_, 0, SEEK_CUR);
  if (size <= 0) return {};
  std::string text(static_cast<size_t>(std::min<off_t>(size, 4096)), '\0');
  const ssize_t got = pread(fd_, text.data(), text.size(), 0);
  if (got <= 0) return {};
  text.resize(static_cast<size_t>(got));
  // FFmpeg's lines look like "[h264 @ 0x55d0] error while decoding MB 3 4"; OpenCV's own warnings
  // do not count.
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t address = line.find(" @ 0x");
    const size_t close = line.find("] ", address == std::string::npos ? 0 : address);
    if (line.empty() || line[0] != '[' || address == std::string::npos ||
        close == std::string::npos) {
      continue;
    }
    return line.substr(1, address - 1) + ": " + line.substr(close + 2);
  }
  return {};
}

void Complaints::clear() {
  if (fd_ >= 0 && ftruncate(fd_, 0) == 0) lseek(fd_, 0, SEEK_SET);
}

}  // namespace vmla::data
