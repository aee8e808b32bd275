// What Debian 12's libstdc++ and libarchive take from glibc 2.36 and nothing else of it: packed into a bundle beside them
// (launch/bundle), so that they run with an older glibc. Where glibc has these functions, its own are found first.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

void arc4random_buf(void* bytes, size_t count) {
  unsigned char* next = bytes;
  while (count > 0) {
    const ssize_t got = getrandom(next, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) abort();  // as glibc does: there is no way to say that there is nothing random
    next += got;
    count -= (size_t)got;
  }
}

uint32_t arc4random(void) {
  uint32_t value;
  arc4random_buf(&value, sizeof value);
  return value;
}
