#include "launch/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

namespace vmla::launch {

void prepare_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    // open() takes the smallest number that is free: this one.
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR);
  }
  std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace vmla::launch
