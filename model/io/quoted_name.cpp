#include "model/io/quoted_name.h"

#include "model/io/format.h"

namespace vmla::io {

std::string quoted_name(std::string_view name) {
  constexpr size_t kLongest = 160;
  std::string text(name);
  if (text.size() > kLongest) {
    text =
        formatted("{}...{}", name.substr(0, kLongest / 2), name.substr(name.size() - kLongest / 2));
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += formatted("\\x{}{}", kHex[byte >> 4], kHex[byte & 15]);
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace vmla::io
