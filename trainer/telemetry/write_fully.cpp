#include "trainer/telemetry/write_fully.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/io/error.h"

namespace vmla::trainer {

void write_fully(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_run("{}: cannot write: {}", path.string(), std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace vmla::trainer
