#include "tests/fuzz/captions.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vmla::fuzz::list_with_captions("captions.csv", data, size);
}
