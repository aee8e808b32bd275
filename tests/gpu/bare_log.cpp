// What the network says, where spdlog is not there to take it (VMLA_GPU_TESTS_ONLY).
#include <iostream>

#include "model/io/log.h"

namespace vmla::log {

void warn(std::string_view line) {
  std::cerr << line << std::endl;
}

}  // namespace vmla::log
