#include "trainer/distributed/job/host_voice.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>

#include "model/io/format.h"

namespace vmla::distributed {

bool speaks_for_host(const std::string& topic) {
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  // A name in Linux's abstract space, which begins with a zero byte: it belongs to whoever binds it
  // first, leaves no file, and goes away with the process.
  const size_t subject = std::hash<std::string>()(topic);
  const std::string name = formatted("vmla-voice-{}-{}-{}", getuid(), getppid(), subject);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy_n(
      name.data(), std::min(name.size(), sizeof address.sun_path - 1), address.sun_path + 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0) return true;  // kept open
  const bool taken = errno == EADDRINUSE;
  close(fd);
  return !taken;
}

}  // namespace vmla::distributed
