#include "launch/launcher/node_link.h"
#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

namespace vmla {

// What a stranger sends to the launcher's port, and then hangs up.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) std::abort();
  launch::Clock::time_point now{};
  launch::NodeLink link(ends[0], now);
  for (size_t sent = 0; sent < size && !link.closed();) {
    const ssize_t count = send(ends[1], data + sent, size - sent, MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<size_t>(count);
    link.progress(now);
  }
  close(ends[1]);
  for (int i = 0; i < 100 && !link.closed(); ++i) link.progress(now);
  fuzz::expect(link.closed(), "the link ends when the peer has hung up");
  return 0;
}

}  // namespace vmla
