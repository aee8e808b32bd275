#include "launch/kept_memory.h"

#include <malloc.h>

namespace vmla::launch {

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // bytes; glibc takes no more
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

}  // namespace vmla::launch
