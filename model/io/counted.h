#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "model/io/format.h"

namespace vmla::io {

/// "1 clip", "2 clips".
inline std::string counted(std::integral auto count, std::string_view thing) {
  return formatted("{} {}{}", count, thing, count == 1 ? "" : "s");
}

}  // namespace vmla::io
