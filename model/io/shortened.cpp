#include "model/io/shortened.h"

#include "model/io/format.h"

namespace vmla::io {

std::string shortened(std::string_view text) {
  constexpr size_t kLongest = 160, kHalf = kLongest / 2;
  if (text.size() <= kLongest) return std::string(text);
  return formatted("{}...{}", text.substr(0, kHalf), text.substr(text.size() - kHalf));
}

}  // namespace vmla::io
